/** A provider whose every byte on the socket a test writes. */

import { createServer, type Socket } from "node:net";

export interface FaultyServer {
  readonly base_url: string;
  /** Requests that came. */
  readonly requests: () => readonly string[];
  /** Connections that their other side has closed. */
  readonly closed: () => number;
  stop(): void;
}

/** Called for each request with its number, from 0. */
export type Behaviour = (socket: Socket, index: number) => void | Promise<void>;

export async function faultyServer(behave: Behaviour): Promise<FaultyServer> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let closed = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = "";
    socket.on("data", (data) => {
      text += data;
      const [head = "", body] = text.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (body === undefined || Buffer.byteLength(body) < length) return;
      requests.push(text);
      text = "";
      void behave(socket, requests.length - 1);
    });
    socket.on("close", () => {
      closed += 1;
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port");
  return {
    base_url: `http://127.0.0.1:${address.port}/v1`,
    requests: () => requests,
    closed: () => closed,
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

export function whole(status: number, type: string, body: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ "content-type": type, "content-length": String(Buffer.byteLength(body)), ...headers });
  return `HTTP/1.1 ${status} X\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`;
}

export const STREAM_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/** One chunk of HTTP's chunked encoding. */
export function piece(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

export const LAST_PIECE = "0\r\n\r\n";

export function event(content: string, finish_reason: string | null = null): string {
  const choice = { index: 0, delta: { content }, finish_reason };
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [choice] })}\n\n`;
}
