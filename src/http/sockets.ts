/** Web sockets that only send. Knows not what. */

/** Sends through what it is given until the function it gives is called. */
export type Feed = (send: (text: string) => void) => () => void;

/** What the socket is to carry that a request was granted, until it is opened. */
export type GrantedFeeds = WeakMap<Request, Feed>;

/** What an open socket carries. */
export interface Carried {
  readonly feed: Feed;
  stop: () => void;
}

const SWITCHING_PROTOCOLS = 101;

export function asksForSocket(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

/** The request may have the socket; whoever listens opens it. */
export function grantSocket(feeds: GrantedFeeds, request: Request, feed: Feed): Response {
  feeds.set(request, feed);
  return new Response(null, { status: SWITCHING_PROTOCOLS });
}

/** Whoever does not read so much is cut; the largest rows have some hundred bytes. */
const UNREAD_BYTES_MAX = 2 ** 20;
/** Of silence; pings keep a socket awake whose other side is there. */
const IDLE_S_MAX = 120;
const UNSUPPORTED_DATA = 1003;

export const SOCKETS: Bun.WebSocketHandler<Carried> = {
  open(socket) {
    const { data } = socket;
    data.stop = data.feed((text) => void socket.send(text));
  },
  message: (socket) => socket.close(UNSUPPORTED_DATA, "This socket only sends"),
  close: ({ data }) => data.stop(),
  idleTimeout: IDLE_S_MAX,
  backpressureLimit: UNREAD_BYTES_MAX,
  closeOnBackpressureLimit: true,
};
