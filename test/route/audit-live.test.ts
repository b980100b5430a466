/** The audit as it comes, for readers of both kinds: what they are sent, who may read it, and who is cut. */

import { afterEach, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { type AuditEntry, UNROUTED } from "../../src/core/audit.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type House, openHouse, until } from "./house.ts";

const FOLDER = scratchFolder();
const PATH = "/admin/audit-logs/live";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const BEGUN = ": still here\n\n";
const ROW: AuditEntry = {
  ...UNROUTED,
  time_ms: Date.now(), // what is old is not kept
  request_id: "req_1",
  endpoint: "chat",
  dialect: "openai",
  duration_ms: 1,
  status: "success",
  error_type: null,
};

const open: House[] = [];
const sockets: (WebSocket | Socket)[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) "destroy" in socket ? socket.destroy() : socket.close();
  for (const house of open.splice(0)) await house.close();
});

let houses = 0;
function house(silence_ms?: number): House {
  const opened = openHouse({ folder: `${FOLDER}/${houses++}`, ...(silence_ms === undefined ? {} : { silence_ms }) });
  open.push(opened);
  return opened;
}

/** The rows of the events so far. */
async function eventsOf(opened: House, query = ""): Promise<{ rows: () => AuditEntry[] }> {
  const response = await opened.send("GET", PATH + query);
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  let text = "";
  const read = async () => {
    for await (const piece of response.body ?? []) text += Buffer.from(piece).toString();
  };
  void read().catch(() => undefined);
  const data = () => text.split("\n\n").filter((event) => event.startsWith("data: "));
  return { rows: () => data().map((event) => JSON.parse(event.slice("data: ".length))) };
}

function socketOf({ url }: House, query = "", headers: Record<string, string> = {}) {
  const socket = new WebSocket(url.replace("http", "ws") + PATH + query, { headers });
  sockets.push(socket);
  const rows: AuditEntry[] = [];
  const closed = Promise.withResolvers<number>();
  const opened = Promise.withResolvers<boolean>();
  socket.onopen = () => opened.resolve(true);
  socket.onerror = () => opened.resolve(false);
  socket.onmessage = ({ data }) => rows.push(JSON.parse(data));
  socket.onclose = ({ code }) => closed.resolve(code);
  return { socket, rows, closed: closed.promise, opened: opened.promise };
}

test("both kinds of readers are sent the last hundred rows, then each as it comes, and only those they ask for", async () => {
  const opened = house();
  for (let index = 0; index < 150; index++) opened.audit.record({ ...ROW, request_id: `req_${index}` });
  const events = await eventsOf(opened);
  const errors = await eventsOf(opened, "?status=error");
  const socket = socketOf(opened);
  const local = socketOf(opened, "?backend=local");
  await Promise.all([socket.opened, local.opened]);
  await opened.chat(HI);
  await opened.chat({ ...HI, model: "nobody's" });
  await until(() => socket.rows.length === 102);
  const { data } = (await (await opened.send("GET", "/admin/audit-logs?limit=102")).json()) as { data: AuditEntry[] };
  const expected = data.toReversed();
  expect(socket.rows).toEqual(expected);
  expect(expected.at(0)?.request_id).toBe("req_50");
  await until(() => events.rows().length === 102 && errors.rows().length === 1);
  expect(events.rows()).toEqual(expected);
  expect(errors.rows()).toEqual(expected.slice(-1));
  expect(local.rows).toEqual(expected.slice(-2, -1));
  expect(opened.bugs).toEqual([]);
});

test("a stream with nothing to tell says at once and again that it is there, and one that was left is forgotten", async () => {
  const opened = house(10);
  const leave = new AbortController();
  const response = await opened.send("GET", PATH, undefined, { signal: leave.signal });
  const reader = response.body?.getReader();
  let text = "";
  while (text.length < 3 * BEGUN.length) text += Buffer.from((await reader?.read())?.value ?? []).toString();
  expect(text).toStartWith(BEGUN.repeat(3));
  leave.abort();
  await Bun.sleep(30);
  opened.audit.record(ROW);
  expect(opened.bugs).toEqual([]);
});

describe("a page of another origin", () => {
  for (const [header, value] of [
    ["origin", "https://example.com"],
    ["origin", "null"],
    ["host", "rebound.example.com"],
  ] as const) {
    test(`whose ${header} is ${value} may read neither, and the attempt is a row`, async () => {
      const opened = house();
      opened.audit.record(ROW);
      const socket = socketOf(opened, "", { [header]: value });
      expect(await socket.opened).toBe(false);
      expect(socket.rows).toEqual([]);
      expect((await opened.send("GET", PATH, undefined, { headers: { [header]: value } })).status).toBe(403);
      const refused = { endpoint: `GET ${PATH}`, status: "error", error_type: "http_403" };
      expect(opened.allRows().slice(1)).toMatchObject([refused, refused]);
    });
  }

  test("of this machine may", async () => {
    expect(await socketOf(house(), "", { origin: "http://localhost:3000" }).opened).toBe(true);
  });
});

test("what cannot be followed is refused by its name, and a socket that is spoken to closes", async () => {
  const opened = house();
  expect((await opened.send("GET", `${PATH}?limit=3`)).status).toBe(400);
  expect(await socketOf(opened, "?limit=3").opened).toBe(false);
  const half = await opened.send("GET", PATH, undefined, { headers: { upgrade: "websocket" } });
  expect([half.status, await half.text()]).toEqual([400, expect.stringContaining("Cannot open a web socket")]);
  const { socket, closed } = socketOf(opened);
  socket.onopen = () => socket.send("hello");
  expect(await closed).toBe(1003);
});

const SOCKET_HEADERS =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

describe("a reader that reads nothing is cut while others go on:", () => {
  for (const [kind, headers] of [
    ["of events", ""],
    ["of a socket", SOCKET_HEADERS],
  ] as const) {
    test(kind, async () => {
      const opened = house();
      const { port } = new URL(opened.url);
      const socket = connect(Number(port), "127.0.0.1");
      sockets.push(socket);
      socket.write(`GET ${PATH} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${headers}\r\n`);
      await new Promise((resolve) => socket.once("data", resolve));
      socket.pause();
      const others = socketOf(opened);
      await others.opened;
      const long = { ...ROW, model_asked: "m".repeat(400) };
      let sent = 0;
      let received = 0;
      let end = "";
      // More than any buffer of the system's between the two.
      for (let round = 0; round < 200; round++) {
        for (let index = 0; index < 150; index++) opened.audit.record(long);
        sent += 150;
        await until(() => others.rows.length === sent);
      }
      socket.on("data", (bytes) => {
        received += bytes.length;
        end = bytes.toString().slice(-100);
      });
      socket.resume();
      await until(() => socket.closed || end.includes(": cut, as this was read too slowly"));
      expect(received).toBeLessThan(sent * JSON.stringify(long).length);
    }, 20_000);
  }
});
