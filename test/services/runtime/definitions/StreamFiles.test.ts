// Stream definitions from files: loaded as they stand, or refused with every problem of every file.
import { FileSystem, Path } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { renderProblems } from "../../../../src/schema/error/ConfigError.ts"
import { ruleChecks } from "../../../../src/services/rule/ruleChecks.ts"
import {
  loadStreams,
  readStream,
  wildcard
} from "../../../../src/services/runtime/definitions/StreamFiles.ts"

const base = `stream: flows
source: { topic: flows }
identity: { device: device, time: ts, id: id }
fields:
  bytesIn: { type: number, scale: log }
  proto: { type: category }
  open: { type: boolean }
windows:
  - { name: count1m, over: 1m, count: true }
rules:
  - { name: telnet, when: event.bytesIn > 23, then: alert }
`

// The base with one stretch replaced.
const changed = (from: string, to: string) => {
  if (!base.includes(from)) throw new Error(`not in the base: ${from}`)
  return base.replace(from, to)
}
const told = (text: string) =>
  renderProblems(readStream(text, "s.yaml", [ruleChecks]).problems).replaceAll(/ {2,}/g, "  ")

describe("a definition", () => {
  it("is laid out as a plan", () => {
    const { problems, stream } = readStream(base, "s.yaml", [ruleChecks])
    expect(problems).toEqual([])
    expect(stream?.plan).toMatchObject({
      stream: "flows",
      numbers: [
        { name: "bytesIn", log: true },
        { name: "open", boolean: true }
      ],
      categories: [{ name: "proto", size: 256 }],
      windows: [{ name: "count1m", overMillis: 60_000, field: -1 }],
      rules: [{ name: "telnet", severity: "medium" }]
    })
  })

  it.each([
    // Keys and values, by the schema.
    [
      "stream: flows",
      "stream: Flows EU",
      "s.yaml:1:9  stream  \"Flows EU\" is not taken; a stream's name is 1 to 63 lower-case letters, digits and '-', for example `flows-eu`"
    ],
    ["stream: flows\n", "", "s.yaml:1:1  stream  is missing; add `stream: flows`"],
    [
      "stream: flows",
      "streem: flows",
      "s.yaml:1:1  streem  `streem` is unknown; did you mean `stream`?\ns.yaml:1:1  stream  is missing; add `stream: flows`"
    ],
    [
      "{ topic: flows }",
      "{ topik: flows }",
      "s.yaml:2:1  source.topic  is missing; add `topic: flows`\ns.yaml:2:11  source.topik  `topik` is unknown; did you mean `topic`?"
    ],
    [
      "{ topic: flows }",
      "{ topic: my topic }",
      's.yaml:2:18  source.topic  "my topic" is not taken; a topic\'s name is 1 to 249 letters, digits, `.`, `_` and `-`, for example `flows`'
    ],
    [
      "{ topic: flows }",
      "{ topic: flows, format: jsn }",
      's.yaml:2:33  source.format  "jsn" is not taken; did you mean `json`? Write one of `json`, `cloudevents`'
    ],
    [
      "{ topic: flows }",
      "{ topic: flows, partitions: 0 }",
      "s.yaml:2:37  source.partitions  0 is not taken; write a whole number from 1 to 1024"
    ],
    ["device: device, ", "", "s.yaml:3:1  identity.device  is missing; add `device: device`"],
    [
      "time: ts",
      "time: ts, timeUnit: sec",
      's.yaml:3:49  identity.timeUnit  "sec" is not taken; write one of `ms`, `s`, `us`, `ns`'
    ],
    [
      "fields:",
      "lateness: 60\nfields:",
      "s.yaml:4:11  lateness  60 is not taken; a duration is a number and one of ms, s, m, h, d, for example `90s` or `10m`"
    ],
    [
      "fields:",
      "lateness: 5 min\nfields:",
      's.yaml:4:11  lateness  "5 min" is not taken; a duration is a number and one of ms, s, m, h, d, for example `90s` or `10m`'
    ],
    [
      "scale: log",
      "scale: logarithmic",
      's.yaml:5:35  fields.bytesIn.scale  "logarithmic" is not taken; write one of `linear`, `log`'
    ],
    ["scale: log", "scal: log", "s.yaml:5:28  fields.bytesIn.scal  `scal` is unknown; did you mean `scale`?"],
    [
      "type: category }",
      "type: categorie }",
      's.yaml:6:18  fields.proto.type  "categorie" is not taken; did you mean `category`? Write one of `number`, `boolean`, `category`'
    ],
    [
      "{ type: category }",
      "{ size: 3 }",
      "s.yaml:6:3  fields.proto.type  is missing; add `type: number|boolean|category`"
    ],
    [
      "type: category }",
      "type: category, size: 1 }",
      "s.yaml:6:34  fields.proto.size  1 is not taken; write a whole number from 2 to 65535"
    ],
    [
      "type: category }",
      "type: category, required: maybe }",
      's.yaml:6:38  fields.proto.required  "maybe" is not taken; write `true` or `false`'
    ],
    [
      "proto: {",
      "pro-to: {",
      "s.yaml:6:3  fields.pro-to  `pro-to` is no name; a name starts with a letter or `_` and has at most 63 letters, digits and `_`"
    ],
    [
      "{ type: category }",
      "category",
      's.yaml:6:10  fields.proto  "category" is not taken; write the keys type, scale, required, path or the keys type, required, path or the keys type, size, required, path'
    ],
    [
      "count: true }",
      "}",
      "s.yaml:9:5  windows.0  this is not taken; a window has either `count: true` or `sum: <number field>`"
    ],
    ["over: 1m, ", "", "s.yaml:9:5  windows.0.over  is missing; add `over: 90s`"],
    [
      "then: alert }",
      "then: alarm }",
      's.yaml:11:53  rules.0.then  "alarm" is not taken; write one of `allow`, `alert`, `escalate`'
    ],
    [
      "rules:\n",
      "alerts: { budget: 1 in 1 events }\nrules:\n",
      's.yaml:10:19  alerts.budget  "1 in 1 events" is not taken; a budget reads `1 in N events` with N from 2 to 999999999, for example `1 in 10000 events`'
    ],
    [
      "rules:\n",
      "score: { timeout: 200ms }\nrules:\n",
      's.yaml:10:19  score.timeout  "200ms" is not taken; a score\'s timeout is 1ms to 100ms'
    ],
    [
      "rules:\n",
      "ladder: []\nrules:\n",
      "s.yaml:10:1  ladder.0  is missing; add one of `deep`, `fast`, `baseline`, `rules`"
    ],
    [
      "rules:\n",
      "ladder: [fast, quick]\nrules:\n",
      's.yaml:10:16  ladder.1  "quick" is not taken; write one of `deep`, `fast`, `baseline`, `rules`'
    ],
    [
      "rules:\n",
      "model:\nrules:\n",
      "s.yaml:10:1  model  is empty; write the keys name, alias, or leave the key out"
    ],
    // Names that refer to each other, by the checks.
    [
      "rules:\n",
      "ladder: [fast, rules, fast]\nrules:\n",
      "s.yaml:10:23  ladder.2  `fast` stands in the ladder twice; keep the first"
    ],
    [
      "rules:\n",
      "score: { suspicious: 1 in 20 events }\nrules:\n",
      "s.yaml:10:22  score.suspicious  nothing goes on to a second stage where there is one stage; add `stages: two`, or leave it out"
    ],
    [
      "rules:\n",
      "score: { stages: two }\nladder: [fast, deep, rules]\nrules:\n",
      "s.yaml:10:18  score.stages  two stages need `deep` in the ladder, and `fast` after it; declare `ladder: [deep, fast, baseline, rules]`, or `stages: one`"
    ],
    [
      "rules:\n",
      "score: { stages: two, suspicious: 1 in 6000 events }\nrules:\n",
      "s.yaml:10:35  score.suspicious  1 in 6000 events go on to the second stage, and 1 in 10000 events may alert; let at least twice as many go on as may alert"
    ],
    [
      "count: true",
      "sum: bytesOut",
      "s.yaml:9:37  windows.0.sum  `bytesOut` is no declared field; sum one of: bytesIn"
    ],
    ["count: true", "sum: proto", "s.yaml:9:37  windows.0.sum  `proto` is a category; sum one of: bytesIn"],
    ["count: true", "sum: open", "s.yaml:9:37  windows.0.sum  `open` is a boolean; sum one of: bytesIn"],
    [
      "name: count1m",
      "name: bytesIn",
      "s.yaml:9:13  windows.0.name  `bytesIn` is a field's name too; name the window otherwise, for example `bytesIn1m`"
    ],
    [
      "over: 1m",
      "over: 10ms",
      "s.yaml:9:28  windows.0.over  a window is shorter than 1s; write `1s` or more"
    ],
    [
      "rules:\n",
      "  - { name: count1m, over: 2m, count: true }\nrules:\n",
      "s.yaml:10:13  windows.1.name  a second window is named `count1m`; give each its own name"
    ],
    [
      "id: id",
      "id: ts",
      "s.yaml:3:43  identity.id  names the same key as identity.time; name the key of the event's id, or leave it out"
    ],
    [
      "time: ts",
      "time: a..b",
      "s.yaml:3:35  identity.time  the key `a..b` has an empty level; write keys with single dots between"
    ],
    [
      "proto: {",
      "in: {",
      "s.yaml:6:3  fields.in  `in` is a word of the rules' language; name the field otherwise and add `path: in`"
    ],
    [
      "type: category }",
      "type: category, path: bytesIn }",
      "s.yaml:6:34  fields.proto.path  reads the same value as field `bytesIn`; keep one of the two"
    ],
    [
      "type: category }",
      "type: category, path: open.x }",
      "s.yaml:7:3  fields.open  `open` can't be a value and hold `open.x`; correct the path of `open` or of `proto`"
    ],
    [
      "then: alert }\n",
      "then: alert }\n  - { name: telnet, when: event.open, then: allow }\n",
      "s.yaml:12:13  rules.1.name  a second rule is named `telnet`; give each its own name: alerts are told apart by it"
    ],
    // Rules, at the very column of the expression.
    [
      "event.bytesIn > 23",
      "event.bytesin > 23",
      "s.yaml:11:27  rules.0.when  rule `telnet`: event.bytesin is unknown; did you mean event.bytesIn? the stream's fields are: device, bytesIn, open, proto"
    ],
    [
      "event.bytesIn > 23",
      "'event.open && event.bytesIn = 23'",
      "s.yaml:11:56  rules.0.when  rule `telnet`: not an expression: `=` is unexpected here; equality is written =="
    ],
    [
      "event.bytesIn > 23",
      "event.proto > 23",
      's.yaml:11:39  rules.0.when  rule `telnet`: event.proto is a text and 23 is a whole number; compare a text with a text in quotes, for example event.proto == "tcp"'
    ]
  ])("with %j as %j is refused", (from, to, expected) => {
    expect(told(changed(from, to))).toBe(expected)
  })

  it("has at least one field, at most 64 numbers and 32 categories", () => {
    const fields = (count: number, type: string) =>
      Array.from({ length: count }, (_, i) => `  ${type}${i}: { type: ${type} }`).join("\n")
    const of = (text: string) =>
      told(`stream: s\nsource: { topic: s }\nidentity: { device: d }\nfields:\n${text}\n`)
    expect(of(`${fields(64, "number")}\n${fields(32, "category")}`)).toBe("")
    expect(of(`${fields(60, "number")}\n${fields(5, "boolean")}`)).toContain(
      "65 numbers and booleans are declared; declare at most 64"
    )
    expect(of(fields(33, "category"))).toContain("33 categories are declared; declare at most 32")
    expect(told("stream: s\nsource: { topic: s }\nidentity: { device: d }\nfields: {}\n")).toContain(
      "fields  no field is declared"
    )
  })
})

const files = Effect.fnUntraced(function* (contents: Readonly<Record<string, string>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped()
  for (const [name, text] of Object.entries(contents)) {
    yield* fs.makeDirectory(path.dirname(path.join(folder, name)), { recursive: true })
    yield* fs.writeFileString(path.join(folder, name), text)
  }
  return folder
})

describe("files", () => {
  const named = (name: string) => base.replace("stream: flows", `stream: ${name}`)

  it.scoped("come from paths, folders and patterns, each once and in order", () =>
    Effect.gen(function* () {
      const folder = yield* files({
        "a/x.yaml": named("x"),
        "a/y.yml": named("y"),
        "b/z.yaml": named("z"),
        "a/note.txt": "no"
      })
      const names = (patterns: ReadonlyArray<string>) =>
        Effect.map(loadStreams(patterns.map((pattern) => `${folder}/${pattern}`)), (streams) =>
          streams.map((stream) => stream.definition.stream).join(" ")
        )
      expect(yield* names(["a"])).toBe("x y")
      expect(yield* names(["b/z.yaml", "a/x.yaml", "b/z.yaml"])).toBe("x z")
      expect(yield* names(["*/?.yaml"])).toBe("x z")
      expect(yield* names(["*/*.y*ml", "a"])).toBe("x y z")
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scoped("are refused together: every problem of every file, and what is missing", () =>
    Effect.gen(function* () {
      const folder = yield* files({
        "a.yaml": named("same"),
        "b.yaml": named("same"),
        "c.yaml": "stream: c\nsource: { topic: c }\n",
        "d.yaml": `# ${"x".repeat(1_048_576)}\n`
      })
      const error = yield* Effect.flip(loadStreams([folder, `${folder}/none.yaml`, `${folder}/n*/x.yaml`]))
      expect(error._tag).toBe("ConfigInvalid")
      expect(
        error.problems.map(
          (problem) => `${problem.file.slice(folder.length + 1)} ${problem.path}: ${problem.message}`
        )
      ).toEqual([
        "none.yaml : no file is there",
        "n*/x.yaml : no file is there",
        "c.yaml identity: is missing",
        "c.yaml fields: is missing",
        "d.yaml : the file is larger than 1 MiB",
        `b.yaml stream: stream \`same\` is declared in ${folder}/a.yaml too`
      ])
      expect(error.message).toContain("6 problems in 5 files. Nothing of this configuration is in effect")
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scoped("that can't be read are problems, not defects", () =>
    Effect.gen(function* () {
      const folder = yield* files({ "a.yaml/inner.txt": "" })
      const error = yield* Effect.flip(loadStreams([`${folder}/a.yaml`, `${folder}/?.yaml`]))
      expect(error.problems.map((problem) => problem.message)).toEqual([
        "no file is there",
        "no file is there"
      ])
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

it("a pattern matches letters, not folders or hidden files", () => {
  const cases: ReadonlyArray<readonly [string, string, boolean]> = [
    ["*.yaml", "a.yaml", true],
    ["*.yaml", ".yaml", false],
    [".*", ".yaml", true],
    ["a*c*e", "abcde", true],
    ["a*c*e", "abcd", false],
    ["??", "ab", true],
    ["??", "abc", false],
    ["*", "", true],
    ["a.c", "abc", false],
    ["*a*a*a*a*a*a*a*b", "a".repeat(5_000), false]
  ]
  for (const [pattern, name, expected] of cases)
    expect(wildcard(pattern, name), `${pattern} ${name}`).toBe(expected)
})
