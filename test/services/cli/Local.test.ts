import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, beforeAll } from "vitest"
import { CommandFailed } from "../../../src/schema/error/CliError.ts"
import { durationText, kindOfConfig } from "../../../src/services/cli/ConfigCommand.ts"
import { checkNode, checkPort } from "../../../src/services/cli/checks.ts"
import type { DemoOptions, ReplayOptions } from "../../../src/services/cli/Programs.ts"
import { defaultConfig } from "../../../src/services/runtime/Settings.ts"
import { runWords } from "./commandHarness.ts"

let folder = ""
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundstate-cli-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const write = (name: string, text: string) =>
  Effect.promise(async () => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  })

const stream = `stream: flows
source: { topic: flows }
identity: { device: device, time: ts }
fields:
  bytes: { type: number, scale: log }
rules:
  - { name: big, when: 'event.bytes > 1000.0', then: alert }
`

describe("config", () => {
  it("tells a stream definition from a runner's configuration by its content", () => {
    expect(kindOfConfig(stream)).toBe("stream definition")
    expect(kindOfConfig("identity: {}\nfields: {}\n")).toBe("stream definition")
    expect(kindOfConfig("region: x\nstreams: []\n")).toBe("runner configuration")
    expect(kindOfConfig("")).toBe("runner configuration")
  })

  it("writes lengths of time as short as they are exact", () => {
    expect([5_000, 60_000, 90_000, 86_400_000, 250, 0].map(durationText)).toEqual([
      "5s",
      "1m",
      "90s",
      "1d",
      "250ms",
      "0ms"
    ])
  })

  it.live("finds no problem where there is none", () =>
    Effect.gen(function* () {
      const definition = yield* write("flows.yaml", stream)
      const runner = yield* write("good.yaml", "streams: [flows.yaml]\n")
      const { code, out, err } = yield* runWords(["config", "check", runner, definition])
      expect([code, err]).toEqual([0, ""])
      expect(out).toBe(
        `${runner}: runner configuration, no problems\n${definition}: stream definition, no problems\n`
      )
    })
  )

  it.live("tells all problems of all files with their place, and exits with 78", () =>
    Effect.gen(function* () {
      const definition = yield* write(
        "broken.yaml",
        stream.replace("bytes: { type: number, scale: log }", "bytes: { type: numbr }")
      )
      const rule = yield* write(
        "rule.yaml",
        stream.replace("event.bytes >", "event.byts >").replace("stream: flows", "stream: other")
      )
      const runner = yield* write("bad.yaml", "http: { prot: 1 }\nstreams: [broken.yaml]\n")
      const { code, out, err } = yield* runWords(["config", "check", runner, definition, rule])
      expect([code, out]).toEqual([78, ""])
      expect(err).toContain(`${runner}:1:9`)
      expect(err).toContain("did you mean `port`?")
      expect(err).toContain(`${definition}:5:`)
      expect(err).toContain("did you mean `number`?")
      expect(err).toContain(`${rule}:7:`)
      expect(err).toContain("3 problems in 3 files.")
    })
  )

  it.live("prints what holds, where it comes from, and no secret", () =>
    Effect.gen(function* () {
      const file = yield* write(
        "print.yaml",
        "http: { port: 9000 }\nlog: { kafka: { brokers: [a:1], sasl: { mechanism: plain, username: u, password: hunter2 } } }\n"
      )
      const variables = { GROUNDSTATE_CELL_CHECKPOINT_EVERY: "90s" }
      const table = yield* runWords(["config", "print", "--config", file], { variables })
      expect(table.out).toMatch(/http\.port +9000 +\S+print\.yaml:1 +GROUNDSTATE_HTTP_PORT/)
      expect(table.out).toMatch(
        /cell\.checkpointEvery +90s +GROUNDSTATE_CELL_CHECKPOINT_EVERY +GROUNDSTATE_CELL_CHECKPOINT_EVERY/
      )
      expect(table.out).toMatch(/log\.kafka\.sasl\.password +<redacted> /)
      const yaml = yield* runWords(["config", "print", "--config", file, "-o", "yaml"], { variables })
      expect(yaml.out).toContain("\n  checkpointEvery: 90s\n")
      const json = yield* runWords(["config", "print", "--config", file, "-o", "json"], { variables })
      expect(JSON.parse(json.out)).toMatchObject({
        settings: { http: { port: 9_000 } },
        origins: { role: "default" }
      })
      expect(table.out + yaml.out + json.out).not.toContain("hunter2")
      // What `print -o yaml` says is itself a configuration, once the secret is there again.
      const again = yield* write("again.yaml", yaml.out)
      expect((yield* runWords(["config", "print", "--config", again])).code).toBe(0)
    })
  )
})

describe("run", () => {
  it.live("hands settings and streams to the program only when all of them are valid", () =>
    Effect.gen(function* () {
      yield* write("flows.yaml", stream)
      const runner = yield* write("run.yaml", "region: north\nstreams: [flows.yaml]\n")
      let started = ""
      const programs = {
        run: (
          settings: { readonly region: string },
          streams: ReadonlyArray<{ readonly definition: { readonly stream: string } }>
        ) =>
          Effect.suspend(() => {
            started = `${settings.region}: ${streams.map((item) => item.definition.stream).join()}`
            return new CommandFailed({ problem: "It stopped.", next: "Start it again." })
          })
      }
      const good = yield* runWords(["run", "--config", runner], { programs })
      expect([started, good.code, good.err]).toEqual([
        "north: flows",
        1,
        "error: It stopped. Start it again.\n"
      ])
      started = ""
      const bad = yield* runWords(["run", "--config", runner], {
        programs,
        variables: { GROUNDSTATE_HTTP_PORT: "x" }
      })
      expect([started, bad.code]).toEqual(["", 78])
      expect(bad.err).toContain("GROUNDSTATE_HTTP_PORT")
    })
  )

  it.live("tells a defect as an internal error, with its trace, and exits with 70", () =>
    Effect.gen(function* () {
      const runner = yield* write("run.yaml", "streams: []\n")
      const { code, err } = yield* runWords(["run", "--config", runner], {
        programs: { run: () => Effect.die(new Error("boom")) }
      })
      expect(code).toBe(70)
      expect(err).toMatch(/^error: groundstate stopped on an error of its own: Error: boom\..*\n[\s\S]*at /)
    })
  )
})

describe("demo and replay", () => {
  it.live("passes options on, shows the view on stderr and the summary on stdout", () =>
    Effect.gen(function* () {
      let given: DemoOptions | undefined
      const { code, out } = yield* runWords(
        "demo --duration 1.5s --seed 3 --devices 20 --rate 100 -o json".split(" "),
        {
          programs: {
            demo: (options) =>
              Effect.sync(() => {
                given = options
                return {
                  seed: options.seed,
                  seconds: 1.5,
                  events: 150,
                  devices: 20,
                  eventsPerSecond: 100,
                  injected: 1,
                  caught: 1,
                  falseAlarms: 0,
                  alerts: 1,
                  incidents: 1,
                  deadLetters: 0,
                  latencyMillis: { p50: 1, p95: 2, p99: 3, max: 4 },
                  byKind: { spike: { injected: 1, caught: 1 } },
                  latestIncidents: [],
                  model: null
                }
              })
          }
        }
      )
      expect(code).toBe(0)
      expect(given).toEqual({
        durationMillis: 1_500,
        seed: 3,
        devices: 20,
        eventsPerSecond: 100,
        port: 8_080
      })
      expect(JSON.parse(out)).toMatchObject({
        events: 150,
        injected: 1,
        caught: 1,
        latencyMillis: { p99: 3 }
      })
      const wrong = yield* runWords(["demo", "--duration", "20"])
      expect([wrong.code, wrong.err]).toEqual([
        2,
        expect.stringContaining("--duration wants a number and one of ms, s, m, h, d")
      ])
    })
  )

  it.live("replays with the definition read and the speed understood", () =>
    Effect.gen(function* () {
      const definition = yield* write("flows.yaml", stream)
      let given: ReplayOptions | undefined
      const { code, out } = yield* runWords(
        [
          "replay",
          "--input",
          "x.jsonl",
          "--stream",
          definition,
          "--speed",
          "10x",
          "--output",
          "a.jsonl",
          "--label",
          "bad"
        ],
        {
          programs: {
            replay: (options, report) =>
              Effect.as(report(10, 10), {
                events: 10,
                deadLetters: 0,
                devices: 2,
                alerts: 1,
                seconds: 0.5,
                eventsPerSecond: 20,
                from: 0,
                to: 1_700_000_000_000,
                model: null,
                secondStage: null,
                labelled: {
                  anomalies: 1,
                  caught: 1,
                  normals: 9,
                  falseAlarms: 0,
                  alertsTrue: 1,
                  alertsFalse: 0,
                  rocAuc: 1,
                  averagePrecision: null,
                  truePositiveRateAt1Percent: 0.25
                }
              }).pipe(Effect.tap(() => Effect.sync(() => (given = options))))
          }
        }
      )
      expect(code).toBe(0)
      expect(given).toMatchObject({
        input: "x.jsonl",
        speed: 10,
        output: "a.jsonl",
        label: "bad",
        model: undefined
      })
      expect(given?.definition.stream).toBe("flows")
      expect(out).toMatch(/^Detected: +1 of 1 labelled anomalies \(100\.0 %\)$/m)
      expect(out).toMatch(/^Of the alerts: +1 for anomalies, 0 for normal events$/m)
      expect(out).toMatch(/^ROC-AUC: +1\.0000$/m)
      expect(out).toMatch(/^Average precision: +-$/m)
      expect(out).toMatch(/^Caught where 1 % of normal events alarm: +25\.0 %$/m)
    })
  )
})

describe("train, score, evaluate", () => {
  it.live("makes a model of a table, scores rows in order, explains and measures them", () =>
    Effect.gen(function* () {
      // Two groups of normal rows on a slant; anomalies lie off it.
      const row = (i: number, odd: boolean) => {
        const x = (i % 2 === 0 ? 1 : 5) + Math.sin(i * 12.9898) * 0.3
        return `${x.toFixed(4)},${(2 * x + Math.cos(i * 78.233) * 0.1 + (odd ? 4 : 0)).toFixed(4)},${i % 3 === 0 ? "a" : "b"},${odd ? 1 : 0}`
      }
      const rows = Array.from({ length: 600 }, (_, i) => row(i, false))
      const input = yield* write("train.csv", `x,y,kind,label\n${rows.join("\n")}\n`)
      const test = yield* write(
        "test.csv",
        `x,y,kind,label\n${Array.from({ length: 100 }, (_, i) => row(i + 600, i % 10 === 0)).join("\n")}\n`
      )
      const model = join(folder, "model")
      const trained = yield* runWords([
        "train",
        "--input",
        input,
        "--output",
        model,
        "--label",
        "label",
        "-o",
        "json"
      ])
      expect([trained.code, trained.err]).toEqual([0, expect.any(String)])
      expect(JSON.parse(trained.out)).toMatchObject({ rows: 600, digest: expect.stringMatching(/^sha256:/) })

      const scores = join(folder, "scores.csv")
      const why = join(folder, "why.jsonl")
      const scored = yield* runWords([
        "score",
        "--model",
        model,
        "--input",
        test,
        "--output",
        scores,
        "--explain",
        why
      ])
      expect([scored.code, scored.err]).toEqual([0, expect.any(String)])
      const lines = (yield* Effect.promise(() => readFile(scores, "utf8"))).trim().split("\n")
      expect(lines[0]).toBe("row,score,energy,pvalue,alert")
      expect(lines.slice(1).map((line) => Number(line.split(",")[0]))).toEqual(
        Array.from({ length: 100 }, (_, i) => i + 1)
      )
      const alerting = lines.filter((line) => line.endsWith(",1")).map((line) => Number(line.split(",")[0]))
      const explained = (yield* Effect.promise(() => readFile(why, "utf8")))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      expect(explained.map((item) => item.row)).toEqual(alerting)
      expect(explained[0].contributions[0]).toMatchObject({ feature: "y", observed: expect.any(Number) })

      const evaluated = yield* runWords([
        "evaluate",
        "--model",
        model,
        "--input",
        test,
        "--label",
        "label",
        "-o",
        "json"
      ])
      expect(JSON.parse(evaluated.out)).toMatchObject({
        rows: 100,
        anomalies: 10,
        rocAuc: 1,
        detectionRate: 1
      })
      const table = yield* runWords(["evaluate", "--model", model, "--input", test, "--label", "label"])
      const reported = yield* runWords(
        ["evaluate", "--model", model, "--input", test, "--label", "label"].concat([
          "--report",
          join(folder, "new", "report"),
          "-o",
          "json"
        ])
      )
      const { report, ...figures } = JSON.parse(reported.out)
      expect(report).toBe(join(folder, "new", "report", "report.html"))
      expect(figures).toEqual(JSON.parse(evaluated.out))
      const page = yield* Effect.promise(() => readFile(report, "utf8"))
      expect(page).toContain(`<code>${figures.model}</code>`)
      expect(page).toContain("10 of 10 anomalies")
      expect(page).toContain("No anomaly was missed.")
      expect(page).toContain("No normal row raised an alarm.")
      // One that is labelled normal all the same: what raised it, as `score --explain` says it.
      const mislabelled = yield* write("mislabelled.csv", `x,y,kind,label\n1,6,a,0\n1,2,a,0\n5,20,b,1\n`)
      yield* runWords(
        ["evaluate", "--model", model, "--input", mislabelled, "--label", "label"].concat([
          "--report",
          join(folder, "mislabelled")
        ])
      )
      const blamed = yield* Effect.promise(() => readFile(join(folder, "mislabelled", "report.html"), "utf8"))
      expect(blamed).toMatch(/<h3>Row 1<\/h3>[\s\S]*<th scope="row"><bdi>y<\/bdi><\/th>/)
      const noTime = yield* runWords(
        ["evaluate", "--model", model, "--input", test, "--label", "label"].concat([
          "--report",
          folder,
          "--time",
          "when"
        ])
      )
      expect([noTime.code, noTime.err]).toEqual([
        1,
        expect.stringContaining("it has no column when; it has x, y, kind, label")
      ])
      const noReport = yield* runWords(
        ["evaluate", "--model", model, "--input", test, "--label", "label"].concat(["--time", "x"])
      )
      expect([noReport.code, noReport.err]).toEqual([2, expect.stringContaining("Add --report DIR")])
      expect(table.out).toMatch(/^Rows: +100: 10 anomalies, 90 normal \(labelled 0\)\nROC-AUC: +1\.0000\n/)
    })
  )

  it.live("says what is wrong with a table or a model", () =>
    Effect.gen(function* () {
      const missing = yield* runWords([
        "train",
        "--input",
        join(folder, "none.csv"),
        "--output",
        join(folder, "m")
      ])
      expect([missing.code, missing.err]).toEqual([
        1,
        expect.stringContaining("there is no such file. Nothing was written; check the path.")
      ])
      const model = yield* runWords([
        "score",
        "--model",
        join(folder, "none"),
        "--input",
        "x.csv",
        "--output",
        "y.csv"
      ])
      expect([model.code, model.err]).toEqual([1, expect.stringContaining("there is no such folder")])
    })
  )
})

describe("doctor", () => {
  it("knows which Node is too old", () => {
    expect(checkNode("20.18.3").status).toBe("failed")
    expect(checkNode("20.19.0").status).toBe("ok")
    expect(checkNode("24.1.0").status).toBe("ok")
  })

  it.live("tells a runner from another program on the port", () =>
    Effect.gen(function* () {
      const serve = (body: string) =>
        Effect.acquireRelease(
          Effect.promise(
            () =>
              new Promise<ReturnType<typeof createServer>>((done) => {
                const server = createServer((_, response) => response.writeHead(503).end(body))
                server.listen(0, "127.0.0.1", () => done(server))
              })
          ),
          (server) => Effect.promise(() => new Promise((done) => server.close(done)))
        ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))
      const check = (port: number) =>
        checkPort({ ...defaultConfig, http: { ...defaultConfig.http, port } }).pipe(
          Effect.provide(FetchHttpClient.layer)
        )
      const component = { component: "database", ready: false, required: true, reason: "it does not answer" }
      const runner = yield* serve(JSON.stringify({ ready: false, components: [component] }))
      expect(yield* check(runner)).toMatchObject({
        status: "warning",
        found: `a runner answers at 127.0.0.1:${runner} and is not ready (database: it does not answer)`
      })
      const other = yield* serve("hello")
      expect(yield* check(other)).toMatchObject({
        status: "failed",
        found: `another program has 127.0.0.1:${other}`
      })
    }).pipe(Effect.scoped)
  )

  it.live("checks this machine, and fails where a check does", () =>
    Effect.gen(function* () {
      yield* write("flows.yaml", stream)
      const config = yield* write("doctor.yaml", "http: { port: 0 }\nstreams: [flows.yaml]\n")
      const good = yield* runWords(["doctor", "--config", config, "-o", "json"])
      const checks = JSON.parse(good.out) as ReadonlyArray<{
        readonly check: string
        readonly status: string
        readonly found: string
      }>
      expect(checks.map(({ check }) => check)).toEqual([
        "node",
        "clock",
        "configuration",
        "streams",
        "time",
        "data folder",
        "sqlite",
        "event log",
        "http port",
        "onnxruntime"
      ])
      expect(checks.filter(({ status }) => status === "failed")).toEqual([])
      expect(good.code).toBe(0)
      const bad = yield* runWords(["doctor", "--config", config], { variables: { GROUNDSTATE_ROLE: "hub" } })
      expect(bad.code).toBe(1)
      expect(bad.out).toMatch(/^CHECK +STATUS +FOUND +FIX\nnode +ok/)
      expect(bad.out).toMatch(/configuration +failed/)
      expect(bad.err).toBe(
        "error: 1 check failed. Do what the FIX column says, then run `groundstate doctor` again.\n"
      )
    })
  )
})

describe("completion", () => {
  it.live.each(["bash", "zsh", "fish"])(
    "knows commands and flags for %s, and none that are not there",
    (shell) =>
      Effect.gen(function* () {
        const { code, out } = yield* runWords(["completion", shell])
        expect(code).toBe(0)
        expect(out).toContain("quarantine")
        expect(out).toContain("deadletters")
        expect(out).toMatch(/alert-share/)
        expect(out).not.toMatch(/wizard|log-level|completions\[| -l completions/)
      })
  )

  it.live("says which shells it knows", () =>
    Effect.gen(function* () {
      const { code, err } = yield* runWords(["completion", "tcsh"])
      expect([code, err]).toEqual([
        2,
        "error: There is no completion for 'tcsh'. Give one of bash, zsh, fish.\n"
      ])
    })
  )
})
