/** `GET /health`: whether the server answers at all. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const schema = Type.Object({ status: Type.Literal("ok"), version: Type.String() });
const detail = describe("Server", "Tell that the server is up", { "application/json": schema }, [403]);

export function healthRoutes(parts: RouteParts) {
  return new Elysia({ normalize: false }).get("/health", async () => ({ status: "ok", version: parts.version }), {
    detail,
  });
}
