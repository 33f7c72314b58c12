// Detection on bare slides, started from the page.

import { json, send } from "./api.js";
import { el } from "./dom.js";

const POLL_MS = 700;

export class DetectBox {
  constructor(page) {
    this.page = page;
    this.job = el("p", { class: "soft", role: "status" }, "");
    this.bar = el("progress", { max: "1", value: "0", hidden: true, "aria-label": "Detection" });
    this.start = el("button", { type: "button", class: "main", onclick: () => this._start() }, "Detect mitotic figures");
    this.node = el("section", {}, el("h2", {}, "Detect"), this.start, this.bar, this.job);
    json("/api/detect").then((state) => this._told(state)).catch(() => {});
  }

  async _start() {
    try {
      this._told(await send("/api/detect", {}));
    } catch (error) {
      this.page.say(error.message, true);
    }
  }

  // Asks until it has ended: an answer that does not come is told, and asked for again.
  _again() {
    setTimeout(async () => {
      try {
        this._told(await json("/api/detect"));
      } catch (error) {
        this.page.say(error.message, true);
        this._again();
      }
    }, POLL_MS);
  }

  _told(state) {
    this.start.disabled = state.state === "running";
    this.bar.hidden = state.state !== "running";
    if (state.share === null) this.bar.removeAttribute("value");
    else this.bar.value = state.share;
    this.job.textContent = state.words;
    if (state.state === "running") this._again();
    if (state.state === "done") location.reload();
  }
}
