// Route prompts with an exported router: onnxruntime-node and @huggingface/tokenizers.
//
//   node route.js ROUTER "What is 17 * 23?" "Write a haiku."
//   node route.js --int8 ROUTER < prompts.json     # a JSON list of texts
//   node route.js --point economy ROUTER "What is 17 * 23?"
//
// Prints a JSON list: for each prompt the expert, every expert's probability, the reward and
// cost to expect of the chosen one where the router knows them, and the milliseconds from text
// to decision.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Tokenizer } from "@huggingface/tokenizers";
import { InferenceSession, Tensor } from "onnxruntime-node";

const OUTPUTS = ["probs", "rewards", "costs"]; // older routers have only the first
// How a router decides that was made before there were operating points.
const OLD = {
  points: [{ name: "quality", cost_weight: 0 }],
  default: "quality",
  recommended: "quality",
};

/** Text in, decision out. */
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
    this.decisions = config.decisions ?? OLD;
    this.maxLength = config.encoder.max_length;
    const kind = tokenizer.model.type;
    if (!["BPE", "Unigram", "WordPiece"].includes(kind)) {
      throw new Error(`tokenizer.json: @huggingface/tokenizers does not know ${kind} models`);
    }
    this.tokenizer = new Tokenizer(tokenizer, {});
    const framed = this.tokenizer.post_processor?.(["\0"], null, true).tokens ?? ["\0"];
    this.closing = framed.length - 1 - framed.indexOf("\0"); // tokens after the text: [SEP]
    this.session = session;
    this.outputs = OUTPUTS.filter((name) => session.outputNames.includes(name));
  }

  /** The operating point of a name or "recommended"; without a name the router's default. */
  point(name = this.decisions.default) {
    const { points, recommended } = this.decisions;
    const names = points.map((point) => point.name);
    const found = points[names.indexOf(name === "recommended" ? recommended : name)];
    if (found) return found;
    const expected = [...names, "recommended"].join(", ");
    throw new Error(`point ${JSON.stringify(name)}: expected ${expected}`);
  }

  /** Token ids of a prompt, cut as the tokenizers library does: the closing tokens stay. */
  encode(prompt) {
    const text = prompt.replace(/\p{Surrogate}/gu, "?"); // half an emoji is no text
    const { ids } = this.tokenizer.encode(text);
    if (ids.length <= this.maxLength) return ids;
    return [...ids.slice(0, this.maxLength - this.closing), ...ids.slice(ids.length - this.closing)];
  }

  /** The expert of one prompt at the operating point of a name. */
  async route(prompt, point) {
    const start = performance.now();
    const ids = this.encode(prompt);
    // A tokenizer without [CLS] makes no token of "": one masked column then.
    const shape = [1, Math.max(1, ids.length)];
    const column = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
    const outputs = await this.session.run(
      {
        input_ids: column(ids.length ? ids : [0]),
        attention_mask: column(ids.length ? ids.map(() => 1) : [0]),
      },
      this.outputs,
    );
    const [probs, rewards, costs] = OUTPUTS.map((name) => outputs[name] && [...outputs[name].data]);
    const best = this.choose({ probs, rewards, costs }, this.point(point));
    const ms = performance.now() - start;
    return {
      expert: this.experts[best],
      probabilities: Object.fromEntries(this.experts.map((name, i) => [name, probs[i]])),
      expected_reward: rewards?.[best], // JSON leaves out what is not known
      expected_cost: costs?.[best],
      ms: Math.round(ms * 1000) / 1000,
    };
  }

  /** Position of the expert that a point takes; of equals the first. */
  choose({ probs, rewards, costs }, { name, expert, cost_weight: weight }) {
    if (expert !== undefined) return this.experts.indexOf(expert);
    if (weight && !costs) throw new Error(`point ${JSON.stringify(name)}: the graph has no costs`);
    const utilities = weight ? rewards.map((reward, i) => reward - weight * costs[i]) : probs;
    return utilities.indexOf(Math.max(...utilities));
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
    options: { int8: { type: "boolean", default: false }, point: { type: "string" } },
    allowPositionals: true,
  });
  const [folder, ...given] = positionals;
  if (folder === undefined) {
    throw new Error("usage: node route.js [--int8] [--point NAME] ROUTER [PROMPT ...]");
  }
  const prompts = given.length ? given : readPrompts();
  const router = await TextRouter.load(folder, values.int8 ? "router.int8.onnx" : "router.onnx");
  const { name } = router.point(values.point);
  const answers = [];
  for (const prompt of prompts) answers.push(await router.route(prompt, name));
  process.stdout.write(JSON.stringify(answers, null, 1) + "\n");
} catch (error) {
  console.error(`route.js: ${error.message}`);
  process.exitCode = 2;
}
