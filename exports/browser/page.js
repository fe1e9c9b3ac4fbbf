// The page: type a prompt, see where it goes. The router itself is in router.js.

import { TextRouter } from "./router.js";

const PAUSE = 80; // ms without a keystroke before a prompt is routed
const query = new URLSearchParams(location.search);

const part = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const short = (number) => String(Number(number.toPrecision(3)));

/** Make an element with a class and text. */
function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** One row per expert, in the router's order; returns a function that shows predictions. */
function drawExperts(experts, priced) {
  const rows = experts.map((name) => {
    const row = element("li", "expert");
    const track = element("span", "track");
    const bar = element("span", "bar");
    const share = element("span", "share", "–");
    const reward = element("span", "estimate");
    const cost = element("span", "estimate");
    track.setAttribute("aria-hidden", "true"); // the share beside it says the same
    track.append(bar);
    row.append(element("span", "name", name), track, share, ...(priced ? [reward, cost] : []));
    return { row, bar, share, reward, cost };
  });
  part("experts").replaceChildren(...rows.map(({ row }) => row));
  part("experts").classList.toggle("priced", priced);
  return (predicted, best) => {
    for (const [i, { row, bar, share, reward, cost }] of rows.entries()) {
      bar.style.width = predicted ? percent(predicted.probs[i]) : "0";
      share.textContent = predicted ? percent(predicted.probs[i]) : "–";
      reward.textContent = predicted?.costs ? `reward ${short(Number(predicted.rewards[i].toFixed(3)))}` : "";
      cost.textContent = predicted?.costs ? `cost ${short(predicted.costs[i])}` : "";
      row.classList.toggle("chosen", i === best);
    }
  };
}

function showDecision(expert, probability) {
  if (expert === undefined) {
    part("decision").textContent = "Type a prompt to see where it goes.";
    return;
  }
  const share = percent(probability);
  part("decision").replaceChildren("Goes to ", element("strong", "", expert), ` (${share})`);
}

/** How a point decides, in words; a place of the slider may have no name. */
function rule({ name, expert, cost_weight: weight }) {
  const weighed = weight ? `reward - ${short(weight)} * cost` : "highest probability";
  const words = expert === undefined ? weighed : `always ${expert}`;
  return name === undefined ? words : `${name}: ${words}`;
}

/**
 * The slider over the curve and the list of named points, both set to `start`. `changed` is
 * called with each point that they are set to.
 */
function drawTrade({ points, curve }, start, changed) {
  const slider = part("weight");
  const list = part("point");
  const weighs = (point, weight) => point.expert === undefined && point.cost_weight === weight;
  function set(point) {
    list.value = point.name ?? "";
    if (point.expert === undefined) {
      slider.value = curve.filter((knot) => knot.cost_weight <= point.cost_weight).length - 1;
    }
    slider.setAttribute("aria-valuetext", rule(point));
    const { reward, cost } = point;
    const known = reward !== undefined && cost !== undefined;
    const earned = known ? `; on train: reward ${short(reward)}, cost ${short(cost)}` : "";
    part("rule").textContent = rule(point) + earned;
    changed(point);
  }
  slider.max = curve.length - 1;
  slider.addEventListener("input", () => {
    const knot = curve[slider.value];
    set(points.find((point) => weighs(point, knot.cost_weight)) ?? knot);
  });
  list.append(...points.map(({ name }) => new Option(name)));
  list.addEventListener("change", () => set(points[list.selectedIndex - 1]));
  part("trade").hidden = false;
  set(start);
}

function showTags(predicted, available) {
  const chips = (predicted?.tags ?? []).map(([tag, weight]) => {
    const chip = element("li", "tag", tag);
    chip.append(element("span", "weight", percent(weight)));
    return chip;
  });
  part("tags").replaceChildren(...chips);
  part("no-tags").hidden = available;
}

function showLatency(predicted) {
  if (!predicted) {
    part("latency").textContent = "–";
    return;
  }
  const steps = Object.entries(predicted.ms).map(([step, ms]) => `${step} ${ms.toFixed(1)}`);
  const total = Object.values(predicted.ms).reduce((sum, ms) => sum + ms);
  part("latency").textContent =
    `${total.toFixed(1)} ms (${steps.join(", ")}) for ${predicted.tokens} tokens`;
}

/** Route what the box holds at a point; while that runs, later keystrokes wait and then win. */
function followPrompt(router, point, priced) {
  const box = part("prompt");
  const drawPredicted = drawExperts(router.experts, priced);
  let predicted = null; // kept, so that the slider need not run the graph again
  function decide() {
    const best = predicted ? router.choose(predicted, point) : -1;
    drawPredicted(predicted, best);
    showDecision(router.experts[best], predicted?.probs[best]);
  }
  if (priced) {
    drawTrade(router.decisions, point, (chosen) => {
      point = chosen;
      decide();
    });
  }
  let timer = 0;
  let busy = false;
  async function update() {
    if (busy) return;
    busy = true;
    try {
      let text;
      do {
        text = box.value;
        predicted = text.trim() === "" ? null : await router.predict(text);
        decide();
        showTags(predicted, router.tags !== null);
        showLatency(predicted);
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
  const folder = new URL(`${query.get("router") ?? "./router"}/`.replace(/\/+$/, "/"), location);
  const graph = query.get("precision") === "int8" ? "router.int8.onnx" : "router.onnx";
  const router = await TextRouter.load(folder, graph, showProgress);
  const point = router.point(query.get("point") ?? undefined);
  const { costs } = await router.predict("warm up"); // the first run compiles
  part("source").textContent = `${folder.pathname}${graph}, ${router.experts.length} experts`;
  part("loading").hidden = true;
  part("answer").hidden = false;
  followPrompt(router, point, costs !== undefined);
  return router;
}

/** For the console and for tests: `await zooter.route(["a prompt", ...], "economy")`. */
const ready = start();
window.zooter = {
  async route(prompts, point = query.get("point") ?? undefined) {
    const router = await ready;
    const answers = [];
    for (const prompt of prompts) answers.push(await router.route(prompt, point));
    return answers;
  },
};
ready.catch(showError);
