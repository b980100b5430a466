/** Dates as Python's strftime writes them in the C locale, in local time. */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** A directive that is not known stays as it is; `%-d` drops the leading zero. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (directive, bare: string, letter: string) => {
    const text = DIRECTIVES.get(letter)?.(date) ?? directive;
    return bare === "" ? text : text.replace(/^0+(?=\d)/, "");
  });
}

const two = (value: number) => String(value).padStart(2, "0");
const hour12 = (date: Date) => date.getHours() % 12 || 12;
const dayName = (date: Date) => DAYS[date.getDay()] ?? "";
const monthName = (date: Date) => MONTHS[date.getMonth()] ?? "";

const DIRECTIVES: ReadonlyMap<string, (date: Date) => string> = new Map([
  ["Y", (date) => String(date.getFullYear())],
  ["y", (date) => two(date.getFullYear() % 100)],
  ["m", (date) => two(date.getMonth() + 1)],
  ["B", monthName],
  ["b", (date) => monthName(date).slice(0, 3)],
  ["d", (date) => two(date.getDate())],
  ["j", (date) => String(dayOfYear(date)).padStart(3, "0")],
  ["A", dayName],
  ["a", (date) => dayName(date).slice(0, 3)],
  ["w", (date) => String(date.getDay())],
  ["H", (date) => two(date.getHours())],
  ["I", (date) => two(hour12(date))],
  ["M", (date) => two(date.getMinutes())],
  ["S", (date) => two(date.getSeconds())],
  ["f", (date) => `${String(date.getMilliseconds()).padStart(3, "0")}000`],
  ["p", (date) => (date.getHours() < 12 ? "AM" : "PM")],
  ["F", (date) => strftime(date, "%Y-%m-%d")],
  ["T", (date) => strftime(date, "%H:%M:%S")],
  ["D", (date) => strftime(date, "%m/%d/%y")],
  ["%", () => "%"],
]);

function dayOfYear(date: Date): number {
  const day_ms = 86_400_000;
  const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (day - Date.UTC(date.getFullYear(), 0, 0)) / day_ms;
}
