// A rule that can't be evaluated is refused when it is loaded, with what is wrong, where, and what to write.
import { expect, it } from "vitest"
import { compileRules } from "../../../src/services/rule/rules.ts"
import { planOf, problemsOf } from "./ruleFixture.ts"

const said = (rule: string) => problemsOf(rule).map((problem) => `${problem.at ?? "-"}: ${problem.message}`)

const refused = [
  // Names.
  "event.prot == 23",
  "event.nonsense > 1",
  "window.count1 > 5",
  "event.count1m > 5",
  "port == 23",
  "evnt.port == 23",
  "event.proto == tcp",
  "event",
  "event.port.x == 1",
  'event["port"] == 1',
  "has(port)",
  "has(event)",
  // Kinds.
  "event.proto > 3",
  'event.port == "23"',
  "event.encrypted == 1",
  "event.encrypted < true",
  "event.port",
  "event.proto",
  "event.bytes + 1",
  "event.port && event.encrypted",
  "!event.port",
  "event.encrypted + 1 > 2",
  "event.proto + 1 == 2",
  "event.port % 2 == 0",
  "event.bytes > event.proto.size() + event.port",
  "event.bytes > 1 / 2",
  "event.bytes > 1 / 0",
  "event.bytes > 0.0 / 0.0",
  "event.bytes > 99999999999999999999",
  "event.port == 23u",
  "event.port == null",
  "event.proto == b'tcp'",
  "event.encrypted ? 1 : true",
  '(event.encrypted ? 1 : "a") == 1',
  // Lists, maps, loops.
  "event.port in []",
  'event.port in ["tcp", 2]',
  "event.port in event.bytes",
  "[1, 2] == [1, 2]",
  '{"a": 1}["a"] == event.port',
  "[1, 2].all(x, x > 1)",
  // Functions.
  'event.proto.startWith("t")',
  'startsWith(event.proto, "t")',
  "event.proto.startsWith(1)",
  "event.proto.matches(event.agent)",
  'event.proto.matches("(")',
  'event.proto.matches("(?=a)")',
  "event.proto.charAt(1.5) == 'a'",
  '"abc".charAt(9) == "x"',
  "now() > 3",
  'timestamp("2020-01-01T00:00:00Z") < timestamp("2021-01-01T00:00:00Z")',
  'event.proto.replace("a", "b") == "c"',
  "frobnicate(event.port)",
  // Syntax.
  "",
  "event.port = 23",
  "event.port =",
  "event.port == ",
  "event.port > 1 and event.bytes > 2",
  "event.port is 1",
  "event.port > 1 & event.bytes > 2",
  "(event.port > 1",
  'event.proto == "tcp'
]

it("is told what is wrong, where, and what to write: one golden text for all", async () => {
  const lines = refused.map(
    (rule) =>
      `${rule}\n${said(rule)
        .map((line) => `  ${line}\n`)
        .join("")}`
  )
  for (const rule of refused) expect(said(rule), rule).not.toEqual([])
  await expect(lines.join("\n")).toMatchFileSnapshot("golden/ruleProblems.txt")
})

it.each([
  ["brackets", `${"(".repeat(40)}true${")".repeat(40)}`, "40 levels of brackets, at most 32"],
  ["levels", `event.port > ${"1.0 + ".repeat(40)}1.0`, "42 levels, at most 32"],
  [
    "terms",
    Array.from({ length: 100 }, (_, i) => `event.port == ${i}`).join(" || "),
    "499 terms and operators, at most 256"
  ],
  ["open brackets", `!${"(".repeat(2_000)}true`, "2000 levels of brackets"],
  ["minus signs", `event.port > ${"- ".repeat(2_001)}event.bytes`, ""],
  ["questions", `${"event.encrypted ? true : ".repeat(150)}false`, "levels, at most 32"],
  ["a pattern", `event.proto.matches("${"a".repeat(257)}")`, "257 characters, at most 256"]
])("is kept within bounds: %s", (_name, rule, message) => {
  expect(said(rule).join("\n")).toContain(message)
})

it("tells every problem of every rule at once", () => {
  const compiled = compileRules(
    planOf({
      one: 'event.prot == 1 && event.agent > 2 && event.bites.startsWith("a")',
      fine: "true",
      two: "evnt.x"
    })
  )
  expect(compiled).toMatchObject({
    ok: false,
    problems: [
      { rule: "one", at: 1 },
      { rule: "one", at: 32 },
      { rule: "one", at: 39 },
      { rule: "two", at: 1 }
    ]
  })
})

it("keeps the number of terms that run row by row within bounds, over all rules of a stream", () => {
  const rules = (count: number) =>
    planOf(
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`r${i}`, `event.agent.startsWith("${i}")`]))
    )
  expect(compileRules(rules(64))).toMatchObject({ ok: true, rules: { rowTerms: 64, count: 64 } })
  expect(compileRules(rules(65))).toMatchObject({ ok: false, problems: [{ rule: "r64" }] })
})
