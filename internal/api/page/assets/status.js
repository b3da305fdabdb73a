// Renews what the page shows every five seconds, and says so when the agent does not answer.
"use strict";

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(4000) });
    if (answer.status === 401) return location.reload(); // the session has ended
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.title = fresh.title;
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}

setInterval(renew, 5000);
document.addEventListener("visibilitychange", renew);
