// Route prompts with an exported router: onnxruntime-node and @huggingface/tokenizers.
//
//   node route.js ROUTER "What is 17 * 23?" "Write a haiku."
//   node route.js --int8 ROUTER < prompts.json     # a JSON list of texts
//
// Prints a JSON list: for each prompt the expert, every expert's probability, and the
// milliseconds from text to decision.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Tokenizer } from "@huggingface/tokenizers";
import { InferenceSession, Tensor } from "onnxruntime-node";

/** Text in, probabilities out. */
class TextRouter {
  /** @param {string} folder router directory; @param {string} graph file name of the graph */
  static async load(folder, graph = "router.onnx") {
    const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
    const session = await InferenceSession.create(join(folder, graph), {
      intraOpNumThreads: 1, // steadier than several beside other work
      logSeverityLevel: 3,
    });
    return new TextRouter(read("config.json"), read("tokenizer.json"), session);
  }

  constructor(config, tokenizer, session) {
    // The graph's metadata says the same, but this runtime does not show it.
    this.experts = config.experts;
    this.maxLength = config.encoder.max_length;
    const kind = tokenizer.model.type;
    if (!["BPE", "Unigram", "WordPiece"].includes(kind)) {
      throw new Error(`tokenizer.json: @huggingface/tokenizers does not know ${kind} models`);
    }
    this.tokenizer = new Tokenizer(tokenizer, {});
    const framed = this.tokenizer.post_processor?.(["\0"], null, true).tokens ?? ["\0"];
    this.closing = framed.length - 1 - framed.indexOf("\0"); // tokens after the text: [SEP]
    this.session = session;
  }

  /** Token ids of a prompt, cut as the tokenizers library does: the closing tokens stay. */
  encode(prompt) {
    const text = prompt.replace(/\p{Surrogate}/gu, "?"); // half an emoji is no text
    const { ids } = this.tokenizer.encode(text);
    if (ids.length <= this.maxLength) return ids;
    return [...ids.slice(0, this.maxLength - this.closing), ...ids.slice(ids.length - this.closing)];
  }

  /** The expert of one prompt; of equally probable ones the first. */
  async route(prompt) {
    const start = performance.now();
    const ids = this.encode(prompt);
    // A tokenizer without [CLS] makes no token of "": one masked column then.
    const shape = [1, Math.max(1, ids.length)];
    const column = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
    const { probs } = await this.session.run(
      {
        input_ids: column(ids.length ? ids : [0]),
        attention_mask: column(ids.length ? ids.map(() => 1) : [0]),
      },
      ["probs"],
    );
    const ms = performance.now() - start;
    const row = Array.from(probs.data);
    return {
      expert: this.experts[row.indexOf(Math.max(...row))],
      probabilities: Object.fromEntries(this.experts.map((name, i) => [name, row[i]])),
      ms: Math.round(ms * 1000) / 1000,
    };
  }
}

/** Prompts from standard input, a JSON list of texts. */
function readPrompts() {
  const prompts = JSON.parse(readFileSync(0, "utf8"));
  if (!Array.isArray(prompts) || !prompts.every((text) => typeof text === "string")) {
    throw new Error("standard input is not a JSON list of texts");
  }
  return prompts;
}

try {
  const { values, positionals } = parseArgs({
    options: { int8: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const [folder, ...given] = positionals;
  if (folder === undefined) throw new Error("usage: node route.js [--int8] ROUTER [PROMPT ...]");
  const prompts = given.length ? given : readPrompts();
  const router = await TextRouter.load(folder, values.int8 ? "router.int8.onnx" : "router.onnx");
  const answers = [];
  for (const prompt of prompts) answers.push(await router.route(prompt));
  process.stdout.write(JSON.stringify(answers, null, 1) + "\n");
} catch (error) {
  console.error(`route.js: ${error.message}`);
  process.exitCode = 2;
}
