// The page: type a prompt, see where it goes. The router itself is in router.js.

import { TextRouter } from "./router.js";

const PAUSE = 80; // ms without a keystroke before a prompt is routed

const part = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** Make an element with a class and text. */
function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** One row per expert, in the router's order; returns a function that shows probabilities. */
function drawExperts(experts) {
  const rows = experts.map((name) => {
    const row = element("li", "expert");
    const track = element("span", "track");
    const bar = element("span", "bar");
    const share = element("span", "share", "–");
    track.setAttribute("aria-hidden", "true"); // the share beside it says the same
    track.append(bar);
    row.append(element("span", "name", name), track, share);
    return { name, row, bar, share };
  });
  part("experts").replaceChildren(...rows.map(({ row }) => row));
  return (answer) => {
    for (const { name, row, bar, share } of rows) {
      const probability = answer?.probabilities[name];
      bar.style.width = answer ? percent(probability) : "0";
      share.textContent = answer ? percent(probability) : "–";
      row.classList.toggle("chosen", answer?.expert === name);
    }
  };
}

function showDecision(answer) {
  if (!answer) {
    part("decision").textContent = "Type a prompt to see where it goes.";
    return;
  }
  const share = percent(answer.probabilities[answer.expert]);
  part("decision").replaceChildren("Goes to ", element("strong", "", answer.expert), ` (${share})`);
}

function showTags(answer, available) {
  const chips = (answer?.tags ?? []).map(([tag, weight]) => {
    const chip = element("li", "tag", tag);
    chip.append(element("span", "weight", percent(weight)));
    return chip;
  });
  part("tags").replaceChildren(...chips);
  part("no-tags").hidden = available;
}

function showLatency(answer) {
  if (!answer) {
    part("latency").textContent = "–";
    return;
  }
  const steps = Object.entries(answer.ms).map(([step, ms]) => `${step} ${ms.toFixed(1)}`);
  const total = Object.values(answer.ms).reduce((sum, ms) => sum + ms);
  part("latency").textContent =
    `${total.toFixed(1)} ms (${steps.join(", ")}) for ${answer.tokens} tokens`;
}

/** Route what the box holds; while that runs, later keystrokes wait and then win. */
function followPrompt(router) {
  const box = part("prompt");
  const drawAnswer = drawExperts(router.experts);
  let timer = 0;
  let busy = false;
  async function update() {
    if (busy) return;
    busy = true;
    try {
      let text;
      do {
        text = box.value;
        const answer = text.trim() === "" ? null : await router.route(text);
        drawAnswer(answer);
        showDecision(answer);
        showTags(answer, router.tags !== null);
        showLatency(answer);
      } while (box.value !== text);
    } catch (error) {
      showError(error);
    } finally {
      busy = false;
    }
  }
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(update, PAUSE);
  });
  for (const button of document.querySelectorAll(".example")) {
    button.addEventListener("click", () => {
      box.value = button.textContent;
      update();
    });
    button.disabled = false;
  }
  update();
}

function showError(error) {
  part("loading").hidden = true;
  part("error").textContent = error.message;
  part("error").hidden = false;
}

function showProgress(done, total) {
  const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
  part("progress").value = done / total;
  part("loading-text").textContent =
    done < total
      ? `Loading the router: ${megabytes(done)} of ${megabytes(total)} MB`
      : "Preparing the router …";
}

async function start() {
  const query = new URLSearchParams(location.search);
  const folder = new URL(`${query.get("router") ?? "./router"}/`.replace(/\/+$/, "/"), location);
  const graph = query.get("precision") === "int8" ? "router.int8.onnx" : "router.onnx";
  const router = await TextRouter.load(folder, graph, showProgress);
  await router.route("warm up"); // the first run compiles; the ones that are shown should not
  part("source").textContent = `${folder.pathname}${graph}, ${router.experts.length} experts`;
  part("loading").hidden = true;
  part("answer").hidden = false;
  followPrompt(router);
  return router;
}

/** For the console and for tests: `await zooter.route(["a prompt", ...])`. */
const ready = start();
window.zooter = {
  async route(prompts) {
    const router = await ready;
    const answers = [];
    for (const prompt of prompts) answers.push(await router.route(prompt));
    return answers;
  },
};
ready.catch(showError);
