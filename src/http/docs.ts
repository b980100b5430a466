/** The OpenAPI document and the page that shows it, all of it from the executable: the page works offline. */

import { swagger } from "@elysiajs/swagger";
import type { TSchema } from "@sinclair/typebox";
import { Elysia } from "elysia";
import style from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import script from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { anthropicErrorSchema } from "../wire/anthropic-problem.ts";
import { ollamaErrorSchema } from "../wire/ollama-problem.ts";
import { problemSchema } from "../wire/problem.ts";
import { withExamples } from "./examples.ts";

/** Whatever the page should try, a browser loads nothing from elsewhere. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bunsen API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

// validatorUrl: null, else the page would ask a server of its makers whether the document is valid.
const START = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#page", validatorUrl: null });\n`;

export function docsRoutes(version: string) {
  // As a model of Elysia's it would be given a $id, and the page could not resolve a reference to it.
  const schemas: Record<string, TSchema> = {
    Problem: problemSchema,
    AnthropicError: anthropicErrorSchema,
    OllamaError: ollamaErrorSchema,
  };
  const document = {
    openapi: "3.1.0",
    info: {
      title: "Bunsen",
      version,
      description: "A local AI server. Every parameter is honoured or refused; none is ignored.",
    },
    tags: [
      { name: "OpenAI", description: "OpenAI's protocol" },
      { name: "Anthropic", description: "Anthropic's protocol" },
      { name: "Server", description: "The server itself" },
    ],
    components: { schemas },
  };
  return (
    new Elysia({ normalize: false })
      .onAfterHandle(async ({ path, responseValue }) => {
        if (path === "/openapi.json") withExamples(responseValue as Parameters<typeof withExamples>[0]);
      })
      .use(swagger({ path: "/docs", specPath: "/openapi.json", provider: "swagger-ui", documentation: document }))
      // In place of the plugin's own page, which loads its script from another host.
      .get("/docs", async () => content(PAGE, "text/html"), { detail: { hide: true } })
      .get("/docs/start.js", async () => content(START, "text/javascript"), { detail: { hide: true } })
      .get("/docs/swagger-ui.js", async () => content(Bun.file(script), "text/javascript"), { detail: { hide: true } })
      .get("/docs/swagger-ui.css", async () => content(Bun.file(style), "text/css"), { detail: { hide: true } })
  );
}

function content(body: string | Blob, type: string): Response {
  return new Response(body, {
    headers: { "content-type": `${type}; charset=utf-8`, "content-security-policy": POLICY },
  });
}
