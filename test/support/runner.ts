// A real runner in a process of its own: started from a folder, asked over HTTP, ended by its process id.
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** dist/main.js, found from where this file lies: `test/support`, or `dist/test/support` when it was emitted. */
const entry = (() => {
  let folder = fileURLToPath(new URL(".", import.meta.url))
  while (!existsSync(join(folder, "package-lock.json")) && folder !== "/") folder = join(folder, "..")
  return join(folder, "dist", "main.js")
})()

/** What the child may see of this process's environment: no setting of the tests leaks into a runner. */
const environment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(GROUNDSTATE_|NODE_OPTIONS$|VITEST|HOST$|PORT$)/.test(name)
    )
  )

/** A port that was free a moment ago. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const TICK_MILLIS = 100

/**
 * Asks again and again until the answer is not undefined; says what was waited for when the time is over. Only time in
 * which this process runs counts: where the machine stands still, what is waited for stands still too.
 */
export const until = async <A>(
  what: string,
  ask: () => Promise<A | undefined>,
  deadlineMillis = 60_000
): Promise<A> => {
  let waited = 0
  const ticking = setInterval(() => {
    waited += TICK_MILLIS
  }, TICK_MILLIS)
  let last = ""
  try {
    for (;;) {
      try {
        const answer = await ask()
        if (answer !== undefined) return answer
        last = "not yet"
      } catch (cause) {
        last = String(cause)
      }
      if (waited > deadlineMillis) throw new Error(`waited ${deadlineMillis} ms for ${what}; last: ${last}`)
      await pause(20)
    }
  } finally {
    clearInterval(ticking)
  }
}

/** Lets the other process run for so long: for faults that strike at a moment, not at a state. */
export const passes = pause

/** What `JSON.parse` gives: tests read the fields that they expect, and fail where they are not there. */
export type Told = ReturnType<typeof JSON.parse>

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Told
}

export interface RunnerProcess {
  readonly url: string
  readonly pid: number
  /** What it has said on stderr. */
  readonly said: () => string
  readonly ended: Promise<number | null>
  readonly running: () => boolean
  readonly kill9: () => Promise<void>
  /** SIGTERM; answers the exit code and how long it took, ms. */
  readonly stop: () => Promise<{ readonly code: number | null; readonly millis: number }>
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>
  ) => Promise<Answer>
  readonly ready: () => Promise<void>
}

/** A folder with a configuration and stream definitions, as `run --config` takes it. */
export const writeConfig = (
  folder: string,
  settings: Readonly<Record<string, unknown>>,
  streams: ReadonlyArray<Readonly<Record<string, unknown>>>
): string => {
  mkdirSync(join(folder, "streams"), { recursive: true })
  for (const stream of streams) {
    writeFileSync(join(folder, "streams", `${stream["stream"]}.yaml`), JSON.stringify(stream))
  }
  const file = join(folder, "groundstate.yaml")
  writeFileSync(file, JSON.stringify({ dataDir: "./data", ...settings }))
  return file
}

/** Runs one command to its end. */
export const command = (...words: ReadonlyArray<string>) => {
  const done = spawnSync(process.execPath, [entry, ...words], { env: environment(), encoding: "utf8" })
  return { code: done.status, stdout: done.stdout, stderr: done.stderr }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Starts `run --config`; the port is chosen here. `environment` are further variables. */
export const startRunner = async (
  config: string,
  more: Readonly<Record<string, string>> = {}
): Promise<RunnerProcess> => {
  if (!existsSync(entry)) throw new Error(`${entry} is missing: node scripts/build.mjs`)
  const port = await freePort()
  const child: ChildProcess = spawn(process.execPath, [entry, "run", "--config", config], {
    env: { ...environment(), GROUNDSTATE_HTTP_PORT: String(port), ...more },
    stdio: ["ignore", "ignore", "pipe"]
  })
  let said = ""
  child.stderr?.on("data", (chunk) => {
    said = (said + String(chunk)).slice(-200_000)
  })
  // A test process that dies must not leave its runners behind.
  const atExit = () => child.kill("SIGKILL")
  process.once("exit", atExit)
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", (code) => {
      process.removeListener("exit", atExit)
      resolve(code)
    })
  )
  const running = () => child.exitCode === null && child.signalCode === null
  const url = `http://127.0.0.1:${port}`
  const ask: RunnerProcess["ask"] = async (method, path, body, headers = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000)
    })
    return { status: response.status, headers: response.headers, body: parsed(await response.text()) }
  }
  return {
    url,
    pid: child.pid ?? -1,
    said: () => said,
    ended,
    running,
    kill9: async () => {
      child.kill("SIGKILL")
      await ended
    },
    stop: async () => {
      const begun = performance.now()
      child.kill("SIGTERM")
      const code = await ended
      return { code, millis: performance.now() - begun }
    },
    ask,
    ready: async () => {
      const alive = await until("the runner to be ready", async () => {
        if (!running()) return false
        return (await ask("GET", "/readyz")).status === 200 ? true : undefined
      })
      if (!alive) throw new Error(`the runner ended:\n${said.slice(-2_000)}`)
    }
  }
}

/** Every item of a list, page by page. */
export const everyItem = async (runner: RunnerProcess, path: string): Promise<ReadonlyArray<Told>> => {
  const items: Array<unknown> = []
  let cursor: string | null = null
  do {
    const glue: string = path.includes("?") ? "&" : "?"
    const from: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`
    const page: Answer = await runner.ask("GET", `${path}${glue}limit=100${from}`)
    if (page.status !== 200) throw new Error(`${path}: ${page.status} ${JSON.stringify(page.body)}`)
    items.push(...page.body.items)
    cursor = page.body.next
  } while (cursor !== null)
  return items
}

/** Waits until every cell of the runner has processed what its partition holds. */
export const drained = (runner: RunnerProcess, ends: ReadonlyArray<number>) =>
  until("every cell to reach the end of its partition", async () => {
    const { body } = await runner.ask("GET", "/v1/cells")
    const done = ends.every((end, partition) =>
      body.items.some((cell: Told) => cell.partition === partition && cell.offset >= end)
    )
    return done ? body.items : undefined
  })
