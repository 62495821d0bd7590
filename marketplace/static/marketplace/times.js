// Show moments in the reader's own time zone, and tell the server that zone for the next pages and mails. Without this
// file they are in UTC, and say so.

const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
const day = { day: "numeric", year: "numeric" };
const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const STYLES = {
  long: { ...day, month: "long", ...clock },
  short: { ...day, month: "short", ...clock },
  seconds: { ...day, month: "short", ...clock, second: "2-digit" },
  day: { ...day, month: "long" },
  "short-day": { ...day, month: "short" },
};

/** "27 November 2026, 15:16", as the server writes it. */
function written(moment, style) {
  const parts = new Intl.DateTimeFormat("en-GB", { ...STYLES[style], timeZone }).formatToParts(moment);
  const { day, month, year, hour, minute, second } = Object.fromEntries(parts.map((one) => [one.type, one.value]));
  const date = `${day} ${month.slice(0, style.startsWith("short") || second ? 3 : undefined)} ${year}`;
  return hour ? `${date}, ${[hour, minute, second].filter(Boolean).join(":")}` : date;
}

if (timeZone) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `zone=${timeZone}; path=/; max-age=31536000; samesite=lax${secure}`;
  for (const time of document.querySelectorAll("time[data-local]")) {
    time.textContent = written(new Date(time.dateTime), time.dataset.local);
  }
  for (const zone of document.querySelectorAll("[data-zone]")) zone.textContent = timeZone.replaceAll("_", " ");
}
