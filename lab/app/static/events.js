"use strict";

const list = document.getElementById("state");
const label = document.getElementById("stream-state");
const source = new EventSource(list.dataset.stream);

function show(name, value) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name.replace("_", " ");
  text.textContent = value;
  list.append(term, text);
}

source.addEventListener("open", () => { label.textContent = "connected"; });
source.addEventListener("error", () => { label.textContent = "connecting again"; });
source.addEventListener("state", (event) => {
  const state = JSON.parse(event.data);
  const task = state.latest_task;
  list.replaceChildren();
  show("time", new Date(state.time).toLocaleTimeString());
  show("host", state.host);
  show("version", state.version);
  show("records", state.records);
  show("latest_task", task ? `${task.state} ${task.worker}` : "none");
});
