// Runs command lines in this process: what they wrote, and their exit code; with a runner's API made of canned answers.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { FetchHttpClient } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer, type Scope } from "effect"
import { runCli } from "../../../src/services/cli/Cli.ts"
import { Programs } from "../../../src/services/cli/Programs.ts"
import { Screen } from "../../../src/services/cli/Screen.ts"
import { Environment } from "../../../src/services/runtime/SettingsFile.ts"

export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface HarnessOptions {
  readonly variables?: Readonly<Record<string, string>>
  readonly programs?: Partial<typeof Programs.Service>
  /** Columns of a terminal that both outputs are; without it they are pipes. */
  readonly terminal?: number
  /** Given every piece written to stdout. */
  readonly onOut?: (text: string) => Effect.Effect<void>
}

const unexpected = () => Effect.die(new Error("this command starts no program"))

/** Runs `groundstate ...words`. */
export const runWords = (
  words: ReadonlyArray<string>,
  options: HarnessOptions = {}
): Effect.Effect<Outcome> =>
  Effect.gen(function* () {
    const written = { out: "", err: "" }
    const surface = (name: "out" | "err") => ({
      write: (text: string) =>
        Effect.suspend(() => {
          written[name] += text
          return name === "out" && options.onOut !== undefined ? options.onOut(text) : Effect.void
        }),
      isTerminal: options.terminal !== undefined,
      colour: false
    })
    const layer = Layer.mergeAll(
      Layer.succeed(Screen, {
        out: surface("out"),
        err: surface("err"),
        size: Effect.succeed({ columns: options.terminal ?? 100, rows: 30 })
      }),
      Layer.succeed(Environment, { variables: options.variables ?? {} }),
      Layer.succeed(Programs, {
        run: options.programs?.run ?? unexpected,
        demo: options.programs?.demo ?? unexpected,
        replay: options.programs?.replay ?? unexpected,
        trainDevice: options.programs?.trainDevice ?? unexpected,
        topicTail: options.programs?.topicTail ?? unexpected
      }),
      FetchHttpClient.layer,
      NodeContext.layer
    )
    const code = yield* runCli(["node", "groundstate", ...words]).pipe(Effect.provide(layer))
    return { code, ...written }
  })

export interface Request {
  readonly method: string
  /** Path with its query. */
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

export interface Answer {
  readonly status?: number
  readonly type?: string
  /** A text goes out as it is, anything else as JSON. */
  readonly body: unknown
}

export interface FakeApi {
  readonly url: string
  readonly requests: Array<Request>
}

const problem = (url: string): Answer => ({
  status: 404,
  type: "application/problem+json",
  body: {
    type: "urn:groundstate:problem:not-found",
    title: "There is no such thing",
    status: 404,
    detail: `${url} is not there.`
  }
})

/** A server that answers by `METHOD path?query` and remembers what it was asked. */
export const serveApi = (
  answers: (request: Request) => Answer | undefined
): Effect.Effect<FakeApi, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<{ readonly api: FakeApi; readonly close: () => void }>((resume) => {
      const requests: Array<Request> = []
      const handle = (message: IncomingMessage, response: ServerResponse) => {
        const pieces: Array<Buffer> = []
        message.on("data", (piece: Buffer) => pieces.push(piece))
        message.on("end", () => {
          const request = {
            method: message.method ?? "",
            url: message.url ?? "",
            headers: message.headers,
            body: Buffer.concat(pieces).toString("utf8")
          }
          requests.push(request)
          const answer = answers(request) ?? problem(request.url)
          response.writeHead(answer.status ?? 200, { "content-type": answer.type ?? "application/json" })
          response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body))
        })
      }
      const server = createServer(handle)
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ api: { url: `http://127.0.0.1:${port}`, requests }, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ api }) => api))
