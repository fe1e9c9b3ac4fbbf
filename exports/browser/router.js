// A zooter-lite router in the browser: onnxruntime-web (WASM, one thread) and
// @huggingface/tokenizers. No server code: fetches a router directory's files, nothing else.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { Tokenizer } from "./node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";

ort.env.wasm.numThreads = 1; // more would need cross-origin isolation, which is a server's to set

// How a router decides that was made before there were operating points.
const OLD = {
  points: [{ name: "quality", cost_weight: 0 }],
  default: "quality",
  recommended: "quality",
};

/** Text in, decision and tags out. */
export class TextRouter {
  /**
   * Fetch a router directory.
   * @param {URL} folder its address, ending in "/"
   * @param {string} graph file name of the graph: router.onnx or router.int8.onnx
   * @param {(done: number, total: number) => void} progress told the bytes of the graph so far
   */
  static async load(folder, graph = "router.onnx", progress = () => {}) {
    const config = await (await get(new URL("config.json", folder))).json();
    const files = config.files ?? {};
    if (!files[graph]) throw new Error(`${folder}: config.json lists no ${graph}`);
    const [bytes, tokenizer, tags] = await Promise.all([
      getBytes(new URL(graph, folder), files[graph].bytes, progress),
      get(new URL("tokenizer.json", folder)).then((response) => response.json()),
      files["tags.faiss"] ? TagIndex.load(folder, config.encoder.dim) : null,
    ]);
    const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
    return new TextRouter(config, tokenizer, session, tags);
  }

  constructor(config, tokenizer, session, tags) {
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
    this.tags = tags; // null where the router has no flat tag index
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

  /**
   * What the graph says of one prompt: for each expert its probability and, where the router
   * knows them, the reward and cost to expect. With the nearest tags, and how long each step
   * took in milliseconds.
   */
  async predict(prompt) {
    const start = performance.now();
    const ids = this.encode(prompt);
    const tokenised = performance.now();
    // A tokenizer without [CLS] makes no token of "": one masked column then.
    const shape = [1, Math.max(1, ids.length)];
    const column = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
    const outputs = await this.session.run({
      input_ids: column(ids.length ? ids : [0]),
      attention_mask: column(ids.length ? ids.map(() => 1) : [0]),
    });
    const routed = performance.now();
    const tags = this.tags?.nearest(outputs.embedding.data) ?? null;
    const done = performance.now();
    const row = (output) => output && Array.from(output.data);
    return {
      probs: row(outputs.probs),
      rewards: row(outputs.rewards),
      costs: row(outputs.costs),
      tags,
      tokens: ids.length,
      ms: { tokenise: tokenised - start, route: routed - tokenised, tags: done - routed },
    };
  }

  /** Position of the expert that a point takes, by what `predict` returns; of equals the first. */
  choose({ probs, rewards, costs }, { name, expert, cost_weight: weight }) {
    if (expert !== undefined) return this.experts.indexOf(expert);
    if (weight && !costs) throw new Error(`point ${JSON.stringify(name)}: the graph has no costs`);
    const utilities = weight ? rewards.map((reward, i) => reward - weight * costs[i]) : probs;
    return utilities.indexOf(Math.max(...utilities));
  }

  /** The expert of one prompt at the operating point of a name, and what `predict` says. */
  async route(prompt, point) {
    const { probs, rewards, costs, ...others } = await this.predict(prompt);
    const best = this.choose({ probs, rewards, costs }, this.point(point));
    return {
      expert: this.experts[best],
      probabilities: Object.fromEntries(this.experts.map((name, i) => [name, probs[i]])),
      expected_reward: rewards?.[best], // undefined where the router does not know it
      expected_cost: costs?.[best],
      ...others,
    };
  }
}

/** Which tags the nearest training queries carry. */
export class TagIndex {
  /** Fetch tags.json and tags.faiss; null where the index is of a kind not read here. */
  static async load(folder, dim) {
    const [named, index] = await Promise.all([
      get(new URL("tags.json", folder)).then((response) => response.json()),
      get(new URL("tags.faiss", folder)).then((response) => response.arrayBuffer()),
    ]);
    const vectors = flatVectors(index, dim, named.query_tags.length);
    return vectors && new TagIndex(named.names, named.query_tags, vectors, dim);
  }

  constructor(names, queryTags, vectors, dim) {
    Object.assign(this, { names, queryTags, vectors, dim });
  }

  /**
   * Up to `top` pairs [tag, weight], heaviest first. A tag's weight is the
   * similarity-weighted share of the `k` nearest training queries that carry it.
   */
  nearest(embedding, k = 16, top = 4) {
    const near = this.search(embedding, k).map(([cosine, row]) => [Math.max(cosine, 1e-6), row]);
    const sum = near.reduce((total, [cosine]) => total + cosine, 0);
    const weights = new Map();
    for (const [cosine, row] of near) {
      for (const tag of this.queryTags[row]) {
        weights.set(tag, (weights.get(tag) ?? 0) + cosine / sum);
      }
    }
    const ranked = [...weights].sort(([a, x], [b, y]) => y - x || a - b);
    return ranked.slice(0, top).map(([tag, weight]) => [this.names[tag], weight]);
  }

  /** The `k` nearest rows as [cosine, row], nearest first. */
  search(embedding, k) {
    const near = [];
    for (let row = 0, at = 0; row < this.queryTags.length; row += 1) {
      let cosine = 0;
      for (let i = 0; i < this.dim; i += 1, at += 1) cosine += this.vectors[at] * embedding[i];
      if (near.length === k && cosine <= near[k - 1][0]) continue;
      let place = near.length;
      while (place > 0 && near[place - 1][0] < cosine) place -= 1;
      near.splice(place, 0, [cosine, row]);
      near.length = Math.min(near.length, k);
    }
    return near;
  }
}

/**
 * The vectors (rows times dim float32) of a FAISS flat inner-product index, or null for
 * another kind: 45 bytes of header (magic "IxFI", dim, rows, ..., number of floats), then they.
 */
export function flatVectors(buffer, dim, rows) {
  const header = 45;
  const view = new DataView(buffer);
  const flat =
    buffer.byteLength === header + 4 * dim * rows &&
    view.getUint32(0) === 0x49784649 &&
    view.getInt32(4, true) === dim &&
    view.getBigInt64(8, true) === BigInt(rows);
  return flat ? new Float32Array(buffer.slice(header)) : null;
}

async function get(url) {
  const response = await fetch(url).catch((error) => {
    throw new Error(`${url}: cannot be fetched (${error.message})`);
  });
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status}`);
  return response;
}

/** The content of a file whose size is known, with progress. */
async function getBytes(url, size, progress) {
  const reader = (await get(url)).body.getReader();
  const content = new Uint8Array(size);
  let done = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (done + part.value.length > size) throw new Error(`${url}: longer than ${size} bytes`);
    content.set(part.value, done);
    done += part.value.length;
    progress(done, size);
  }
  if (done < size) throw new Error(`${url}: ${done} bytes, config.json says ${size}`);
  return content;
}
