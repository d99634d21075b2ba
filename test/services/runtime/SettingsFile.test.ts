import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Either, Redacted } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { defaultConfig } from "../../../src/services/runtime/Settings.ts"
import { Environment, loadSettings, runnerKeys } from "../../../src/services/runtime/SettingsFile.ts"
import type { SettingKind } from "../../../src/services/runtime/settingsKeys.ts"

let folder = ""
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundstate-settings-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const write = async (name: string, text: string | Uint8Array): Promise<string> => {
  await writeFile(join(folder, name), text)
  return join(folder, name)
}

const load = (file: string | undefined, variables: Readonly<Record<string, string>> = {}) =>
  Effect.runPromise(loadSettings(file).pipe(Effect.either, Effect.provideService(Environment, { variables })))

const loaded = async (text: string, variables: Readonly<Record<string, string>> = {}) =>
  Either.getOrThrow(await load(await write("groundstate.yaml", text), variables))

/** `line:column path: message; fix` of every problem. */
const problems = async (text: string, variables: Readonly<Record<string, string>> = {}) => {
  const result = await load(await write("groundstate.yaml", text), variables)
  if (Either.isRight(result)) return []
  return result.left.problems.map(
    ({ line, column, path, message, fix }) => `${line}:${column} ${path}: ${message}; ${fix}`
  )
}

describe("loadSettings", () => {
  it("takes the example of a region's runner, without the files that it names", async () => {
    const example = new URL("../../../deploy/examples/region/groundstate.yaml", import.meta.url)
    const { settings } = Either.getOrThrow(await load(fileURLToPath(example)))
    expect(settings.access.tokensFile).toBe("/etc/groundstate/tokens.json")
  })

  it("takes an empty file, and one of comments, for the defaults", async () => {
    for (const text of ["", "\n", "# nothing yet\n"]) {
      const { settings } = await loaded(text)
      expect(settings).toEqual({
        ...defaultConfig,
        dataDir: join(folder, "groundstate-data"),
        streams: [join(folder, "streams/*.yaml")]
      })
    }
  })

  it("reads paths relative to the file, those of the environment relative to the working directory", async () => {
    const { settings } = await loaded("dataDir: data\nstreams: [a.yaml, /etc/b.yaml]\n")
    expect(settings.dataDir).toBe(join(folder, "data"))
    expect(settings.streams).toEqual([join(folder, "a.yaml"), "/etc/b.yaml"])
    const other = await loaded("dataDir: data\n", { GROUNDSTATE_DATA_DIR: "elsewhere" })
    expect(other.settings.dataDir).toBe(resolve("elsewhere"))
  })

  it("overrides any key by its variable, lists by commas, lengths of time as in the file", async () => {
    const { settings } = await loaded("http: { port: 9000 }\n", {
      GROUNDSTATE_HTTP_PORT: "9090",
      GROUNDSTATE_LOG_KIND: "kafka",
      GROUNDSTATE_LOG_KAFKA_BROKERS: "a:9092, b:9092",
      GROUNDSTATE_LOG_KAFKA_TLS: "true",
      GROUNDSTATE_CELL_CHECKPOINT_EVERY: "2s",
      GROUNDSTATE_CELL_FETCH_BYTES_MAX: "8388608",
      GROUNDSTATE_SERVER: "http://elsewhere:8080",
      PATH: "/bin"
    })
    expect(settings.http.port).toBe(9090)
    expect(settings.log.kind).toBe("kafka")
    expect(settings.log.kafka?.brokers).toEqual(["a:9092", "b:9092"])
    expect(settings.log.kafka?.tls).toBe(true)
    expect(settings.cell.checkpointEvery).toBe(2_000)
    expect(settings.cell.fetchBytesMax).toBe(8_388_608)
  })

  it("reads a secret from the file that *_FILE names, and never shows it", async () => {
    const secret = await write("password", "hunter2\n")
    const text =
      "log: { kind: kafka, kafka: { brokers: [a:9092], sasl: { mechanism: plain, username: me } } }\n"
    const { settings, origins } = await loaded(text, { GROUNDSTATE_LOG_KAFKA_SASL_PASSWORD_FILE: secret })
    const password = settings.log.kafka?.sasl?.password
    expect(password === undefined ? undefined : Redacted.value(password)).toBe("hunter2")
    expect(JSON.stringify(settings)).not.toContain("hunter2")
    expect(origins.find(({ key }) => key.path.join(".") === "log.kafka.sasl.password")?.origin).toBe(
      "GROUNDSTATE_LOG_KAFKA_SASL_PASSWORD_FILE"
    )
  })

  it("tells where each value comes from", async () => {
    const { origins } = await loaded("region: north\nhttp:\n  port: 9000\n", {
      GROUNDSTATE_HTTP_HOST: "127.0.0.2"
    })
    const of = (path: string) => origins.find(({ key }) => key.path.join(".") === path)?.origin
    expect(of("region")).toBe(`${join(folder, "groundstate.yaml")}:1`)
    expect(of("http.port")).toBe(`${join(folder, "groundstate.yaml")}:3`)
    expect(of("http.host")).toBe("GROUNDSTATE_HTTP_HOST")
    expect(of("role")).toBe("default")
    expect(of("log.kafka.brokers")).toBe(undefined)
  })

  it("knows a variable for every key", () => {
    const variables = runnerKeys.map((key) => key.variable)
    expect(new Set(variables).size).toBe(variables.length)
    expect(variables).toContain("GROUNDSTATE_HTTP_BODY_BYTES_MAX")
    expect(variables).toContain("GROUNDSTATE_LOG_KAFKA_SASL_PASSWORD")
    expect(variables).toContain("GROUNDSTATE_TELEMETRY_OTLP_ENDPOINT")
  })
})

describe("problems of settings", () => {
  it("tells unknown keys and wrong values with line, column, key and what is allowed, all at once", async () => {
    expect(
      await problems("regoin: north\nhttp:\n  port: 99999\nrole: hub\ncell:\n  dedupeEventsMax: 67108864\n")
    ).toEqual([
      "1:1 regoin: `regoin` is unknown; did you mean `region`?",
      "3:9 http.port: 99999 is not taken; write a whole number from 0 to 65535",
      '4:7 role: "hub" is not taken; write one of `edge`, `region`',
      "6:20 cell.dedupeEventsMax: 67108864 is not taken; write a whole number from 1 to 16777216"
    ])
  })

  it("tells a wrong variable by its name", async () => {
    expect(
      await problems("", {
        GROUNDSTATE_HTTP_PORT: "eighty",
        GROUNDSTATE_HTP_HOST: "x",
        GROUNDSTATE_LOG_KAFKA_TLS: "perhaps"
      })
    ).toEqual([
      "0:0 GROUNDSTATE_HTP_HOST: no setting has this name; did you mean GROUNDSTATE_HTTP_HOST? Unset it otherwise",
      '0:0 GROUNDSTATE_HTTP_PORT: "eighty" is not taken; write a number',
      expect.stringMatching(
        /^0:0 GROUNDSTATE_LOG_KAFKA_BROKERS: is missing; set it, or write log\.kafka\.brokers in /
      ),
      '0:0 GROUNDSTATE_LOG_KAFKA_TLS: "perhaps" is not taken; write `true` or `false`'
    ])
  })

  it("tells relations that do not hold, in the file or the variable that breaks them", async () => {
    expect(await problems("cell:\n  eventBytesMax: 2000000\n  fetchBytesMax: 1000000\n")).toEqual([
      "3:18 cell.fetchBytesMax: 1000000 is less than cell.eventBytesMax (2000000): an event could be larger than a fetch; write at least 2000000, or lower cell.eventBytesMax"
    ])
    expect(await problems("", { GROUNDSTATE_CELL_RESTART_DELAY_MIN: "1m" })).toEqual([
      "0:0 GROUNDSTATE_CELL_RESTART_DELAY_MIN: 60000ms is more than cell.restartDelayMax (10000ms); write at most 10000ms, or raise cell.restartDelayMax"
    ])
    expect((await problems("log: { kind: kafka }\n"))[0]).toContain(
      "log.kafka: log.kind is kafka and no brokers are named"
    )
    expect((await problems("http: { bodyBytesMax: 536870912, pendingBytesMax: 536870912 }\n"))[0]).toContain(
      "more than 256 MiB"
    )
  })

  /** What no key of the kind takes, as YAML. */
  const wrong: Readonly<Record<SettingKind, string>> = {
    text: "{ no: text }",
    secret: "{ no: text }",
    number: "many",
    boolean: "perhaps",
    duration: "soon",
    list: "{ no: list }"
  }

  it.each(runnerKeys.map(({ path, kind }) => [path.join("."), path, kind] as const))(
    "F34 %s: a value of another kind is named with its line",
    async (name, path, kind) => {
      const text = path.map((key, depth) => `${"  ".repeat(depth)}${key}:`).join("\n")
      const found = await problems(`# settings\n${text} ${wrong[kind]}\n`)
      expect(found).toContainEqual(
        expect.stringMatching(new RegExp(`^${path.length + 1}:\\d+ ${name.replaceAll(".", "\\.")}: .+; .+`))
      )
    }
  )

  it.each(
    runnerKeys
      .filter(({ kind }) => kind === "number" || kind === "boolean" || kind === "duration")
      .map(({ variable, kind }) => [variable, kind] as const)
  )("F34 %s: a text that it can't hold is named", async (variable, kind) => {
    const found = await problems("", { [variable]: wrong[kind] })
    expect(found).toContainEqual(expect.stringMatching(new RegExp(`^0:0 ${variable}: .+; .+`)))
  })

  it("never tells a secret that is not taken", async () => {
    const text =
      "log: { kafka: { brokers: [a:9092], sasl: { mechanism: plain, username: me, password: { a: hunter2 } } } }\n"
    const found = await problems(text)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain("the secret is not taken")
    expect(found[0]).not.toContain("hunter2")
  })

  it("tells a secret's file that can't be read, and one that is set twice", async () => {
    expect(
      await problems("", {
        GROUNDSTATE_REGION: "a",
        GROUNDSTATE_REGION_FILE: "/nowhere",
        GROUNDSTATE_RUNNER_FILE: "/nowhere/at-all"
      })
    ).toEqual([
      "0:0 GROUNDSTATE_REGION_FILE: GROUNDSTATE_REGION is set as well; keep one of the two",
      "0:0 GROUNDSTATE_RUNNER_FILE: the file /nowhere/at-all can't be read (ENOENT); name a file that this user may read"
    ])
  })

  it("tells a file that is missing, no UTF-8, or no YAML", async () => {
    const missing = await load(join(folder, "nothing.yaml"))
    expect(Either.isLeft(missing) && missing.left.message).toContain("there is no such file")
    const bytes = await load(await write("latin1.yaml", Uint8Array.of(0x72, 0xe9)))
    expect(Either.isLeft(bytes) && bytes.left.message).toContain("it is not UTF-8")
    expect((await problems("http: [\n"))[0]).toMatch(/^\d+:\d+ /)
  })
})
