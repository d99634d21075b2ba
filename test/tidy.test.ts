// Keeps the house in shape: imports, the data plane, outside inputs, names, sizes and left-overs.
import { describe, expect, it } from "vitest"
import { inputExceptions, sizeExceptions, sleepExceptions } from "./support/tidy/allowed.ts"
import { inputs, leftOvers, names, size, sleeping } from "./support/tidy/contentRules.ts"
import { cycles, dataPlane, direction, isHot } from "./support/tidy/importRules.ts"
import {
  describeFinding,
  type Finding,
  parseSource,
  readSources,
  type Source
} from "./support/tidy/source.ts"

const root = new URL("..", import.meta.url).pathname
const src = readSources(root, "src")
const consoleUi = readSources(root, "console")
const tests = readSources(root, "test")
const bench = readSources(root, "bench")
const chaos = readSources(root, "chaos")

const tidy = (findings: ReadonlyArray<Finding>) => expect(findings.map(describeFinding)).toEqual([])
const sample = (files: Readonly<Record<string, string>>): ReadonlyArray<Source> =>
  Object.entries(files).map(([path, text]) => parseSource(path, text))
/** Where a rule strikes in samples: `file:line`. */
const struck = (findings: ReadonlyArray<Finding>) =>
  findings.map((finding) => `${finding.file}:${finding.line}`)

it("reads the sources", () => {
  expect(src.map((source) => source.path)).toContain("src/schema/Ids.ts")
  expect(tests.map((source) => source.path)).toContain("test/tidy.test.ts")
})

it("says file, line, rule and what to write instead", () => {
  const [finding] = direction(sample({ "src/services/rule/rules.ts": 'import "../score/energy.ts"' }))
  expect(describeFinding(finding)).toBe(
    "src/services/rule/rules.ts:1 direction: imports ../score/energy.ts. Instead: let stages meet in an actor, or move what both need into src/schema."
  )
})

describe("direction", () => {
  it("holds", () => tidy(direction([...src, ...consoleUi])))

  it.each([
    ["a stage imports another stage", "src/services/rule/rules.ts", 'import { x } from "../score/energy.ts"'],
    ["even for a type", "src/services/rule/rules.ts", 'import type { X } from "../score/energy.ts"'],
    ["or by import()", "src/services/rule/rules.ts", 'type X = import("../score/energy.ts").X'],
    ["or as a worker", "src/services/rule/rules.ts", 'new URL("../score/work.js", import.meta.url)'],
    [
      "or as an emitted worker",
      "src/services/rule/rules.ts",
      'new URL("../../../dist/services/score/work.js", import.meta.url)'
    ],
    ["or passes it on", "src/services/rule/rules.ts", 'export { x } from "../score/energy.ts"'],
    ["runtime imports a stage", "src/services/runtime/Cluster.ts", 'import "../observe/Metrics.ts"'],
    ["a service imports an actor", "src/services/inspect/Server.ts", 'import "../../actors/cell/Cell.ts"'],
    ["an unlisted stage", "src/services/stuff/x.ts", 'import "../../schema/Ids.ts"'],
    ["an actor imports another actor", "src/actors/cell/Cell.ts", 'import "../device/Device.ts"'],
    ["an unlisted actor", "src/actors/stuff/x.ts", 'import "../../schema/Ids.ts"'],
    ["schema imports a service", "src/schema/event/Event.ts", 'import "../../services/ingest/decode.ts"'],
    ["schema looks down", "src/schema/event/Event.ts", 'import "../verdict/Alert.ts"'],
    [
      "schema takes a runtime package",
      "src/schema/event/Event.ts",
      'import { FileSystem } from "@effect/platform"'
    ],
    [
      "schema takes everything of a package",
      "src/schema/event/Event.ts",
      'import * as Cluster from "@effect/cluster"'
    ],
    ["schema takes another package", "src/schema/event/Event.ts", 'import yaml from "yaml"'],
    ["a service imports a program", "src/services/cli/run.ts", 'import "../../programs/demo.ts"'],
    ["a file at the root of src", "src/extra.ts", 'import "./schema/Ids.ts"'],
    ["an import without .ts", "src/services/rule/rules.ts", 'import "./scope"'],
    ["the console looks beyond schema", "console/app.tsx", 'import "../src/services/inspect/Server.ts"']
  ])("fails where %s", (_, path, text) => {
    expect(struck(direction(sample({ [path]: text })))).toEqual([`${path}:1`])
  })

  it.each([
    [
      "src/services/rule/rules.ts",
      'import "./scope.ts"; import "../../schema/Ids.ts"; import "../observe/Metrics.ts"'
    ],
    ["src/services/inspect/Server.ts", 'import "../state/Projections.ts"'],
    [
      "src/actors/cell/Cell.ts",
      'import "../../services/score/Scorer.ts"; import "../../schema/protocol/DeviceProtocol.ts"'
    ],
    [
      "src/schema/protocol/P.ts",
      'import { Entity } from "@effect/cluster"; import { Rpc } from "@effect/rpc"; import "../Ids.ts"'
    ],
    [
      "src/schema/api/A.ts",
      'import { HttpApiGroup } from "@effect/platform"; import { Schema } from "effect"'
    ],
    ["src/main.ts", 'import "./actors/cell/Cell.ts"; import "./services/cli/run.ts"']
  ])("passes %s", (path, text) => tidy(direction(sample({ [path]: text }))))
})

describe("cycles", () => {
  it("hold nowhere", () => tidy(cycles(src)))

  it("fail between two files, three files and a file and itself, and name the knot", () => {
    const found = cycles(
      sample({
        "src/a.ts": 'import type { B } from "./b.ts"',
        "src/b.ts": '\nimport { c } from "./c.ts"',
        "src/c.ts": 'export * from "./a.ts"',
        "src/d.ts": 'import "./d.ts"',
        "src/e.ts": 'import "./a.ts"'
      })
    )
    expect(found.map((finding) => finding.what)).toEqual([
      "files import each other in a circle: src/a.ts, src/b.ts, src/c.ts",
      "files import each other in a circle: src/d.ts"
    ])
  })

  it("pass a diamond, and a worker that imports its parent's constants", () => {
    tidy(
      cycles(
        sample({
          "src/a.ts": 'import "./b.ts"; import "./c.ts"; new URL("./w.ts", import.meta.url)',
          "src/b.ts": 'import "./d.ts"',
          "src/c.ts": 'import "./d.ts"',
          "src/d.ts": "",
          "src/w.ts": 'import "./a.ts"'
        })
      )
    )
  })
})

describe("the data plane", () => {
  it("is plain", () => tidy(dataPlane(src)))

  it.each([
    ["imports effect", 'import { Effect } from "effect"'],
    ["imports its types", 'import type { Effect } from "effect"'],
    ["imports a part of it", 'import * as Effect from "effect/Effect"'],
    ["imports a package of its family", 'import { Sharding } from "@effect/cluster"'],
    ["has an async function", "export const f = async () => 1"],
    ["waits", "await f()"]
  ])("fails where a hot file %s", (_, text) => {
    expect(struck(dataPlane(sample({ "src/services/ingest/decode.ts": text })))).toContain(
      "src/services/ingest/decode.ts:1"
    )
  })

  it("leaves services and cold folders alone", () => {
    expect(isHot("src/actors/cell/batch.ts")).toBe(true)
    tidy(
      dataPlane(
        sample({
          "src/services/ingest/EventLog.ts": 'import { Effect } from "effect"',
          "src/services/cli/run.ts": 'import { Effect } from "effect"',
          "src/actors/device/deviceState.ts": "export const f = async () => 1"
        })
      )
    )
  })
})

describe("inputs", () => {
  it("are read only where listed", () => tidy(inputs(src, inputExceptions)))

  it.each([
    ["process.env.HOME"],
    ['process["env"]'],
    ["const { env } = process"],
    ['import { env } from "node:process"'],
    ["Date.now()"],
    ["const clock = Date.now"],
    ["globalThis.Date.now()"],
    ["new Date()"],
    ["Math.random()"],
    ["setTimeout(() => {}, 1)"],
    ["globalThis.setTimeout(() => {}, 1)"],
    ["setInterval(() => {}, 1)"],
    ['import { setTimeout } from "node:timers/promises"']
  ])("fail for %s", (text) => {
    expect(struck(inputs(sample({ "src/x.ts": text }), []))).toEqual(["src/x.ts:1"])
  })

  it("pass a given date, and words that only look like an input", () => {
    tidy(
      inputs(
        sample({ "src/x.ts": 'new Date(0); "Date.now()"; /* Math.random */ settings.env; clock.setTimeout' }),
        []
      )
    )
  })

  it("pass what is listed, and fail an entry that is no longer needed", () => {
    const list = [{ file: "src/x.ts", what: "Date.now", reason: "it stamps files" }]
    tidy(inputs(sample({ "src/x.ts": "Date.now()" }), list))
    expect(inputs(sample({ "src/x.ts": "1" }), list).map((finding) => finding.what)).toEqual([
      "is listed for Date.now, which it no longer needs"
    ])
  })
})

describe("names", () => {
  it("say something", () => tidy(names([...src, ...consoleUi, ...tests, ...bench])))

  it.each([
    ["src/utils.ts", ""],
    ["src/helpers/x.ts", ""],
    ["src/services/CellManager.ts", ""],
    ["src/common/x.ts", ""],
    ["src/x.ts", "export const helpers = 1"],
    ["src/x.ts", "const a = 1\nexport { a as misc }"],
    ["src/x.ts", "export class LeaseManager {}"],
    ["src/x.ts", 'export * as types from "./y.ts"']
  ])("fail for %s %s", (path, text) => {
    expect(names(sample({ [path]: text })).length).toBe(1)
  })

  it("pass names that hold such a word and mean it", () => {
    tidy(
      names(sample({ "src/commonPrefix.ts": "export const commonPrefix = 1\nexport type FieldTypes = 1" }))
    )
  })
})

describe("size", () => {
  const lines = (count: number) => "\n".repeat(count)

  it("is at most 400 lines, or listed", () => tidy(size([...src, ...consoleUi], sizeExceptions)))

  it("fails at 401 lines, passes a listed file, and fails an entry that is no longer needed", () => {
    tidy(size(sample({ "src/x.ts": lines(400) }), []))
    expect(struck(size(sample({ "src/x.ts": lines(401) }), []))).toEqual(["src/x.ts:401"])
    const list = [{ file: "src/x.ts", what: "more than 400 lines", reason: "one table" }]
    tidy(size(sample({ "src/x.ts": lines(401) }), list))
    expect(size(sample({ "src/x.ts": lines(10) }), list).length).toBe(1)
  })
})

describe("left-overs", () => {
  it("are none", () => tidy(leftOvers([...src, ...consoleUi, ...tests, ...bench, ...chaos])))

  it.each([
    ["src/x.ts", "// TODO later"],
    ["src/x.ts", "const x = 1 /* FIXME */"],
    ["src/x.ts", "let x: any"],
    ["src/x.ts", "const f = (x: Array<any>) => x"],
    ["src/x.ts", "console.log(1)"],
    ["test/x.test.ts", 'it.only("x", () => {})'],
    ["test/x.test.ts", 'describe.skip("x", () => {})'],
    ["test/x.test.ts", 'it.effect.skip("x", () => {})'],
    ["test/x.test.ts", 'it.todo("x")']
  ])("fail for %s %s", (path, text) => {
    expect(struck(leftOvers(sample({ [path]: text })))).toEqual([`${path}:1`])
  })

  it("pass words in strings, prerequisites, and a figure that a bench prints", () => {
    tidy(
      leftOvers(
        sample({
          "test/x.test.ts": 'it.skipIf(missing)("any TODO", () => "it.only")\nlist.skip(1)',
          "bench/x.ts": "console.log(1)"
        })
      )
    )
  })
})

describe("sleeping tests", () => {
  it("are none, but for those listed", () => tidy(sleeping(tests, sleepExceptions)))

  it.each([
    ["await new Promise((done) => setTimeout(done, 100))"],
    ['import { setTimeout } from "node:timers/promises"'],
    ["Atomics.wait(cell, 0, 0, 100)"],
    ['it.live("x", () => Effect.sleep(100))']
  ])("fail for %s", (text) => {
    expect(struck(sleeping(sample({ "test/x.test.ts": text }), []))).toEqual(["test/x.test.ts:1"])
  })

  it("pass a sleep on the test's own clock", () => {
    tidy(sleeping(sample({ "test/x.test.ts": 'it.effect("x", () => Effect.fork(Effect.sleep(100)))' }), []))
  })
})
