// Rules decide events: what matches, what a missing value means, and in which order rules are asked.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { compileRules } from "../../../src/services/rule/rules.ts"
import type { Row } from "./ruleFixture.ts"
import { bindRules, columnsOf, decide, makeCell, matches, planOf } from "./ruleFixture.ts"

describe("comparisons", () => {
  it("take whole numbers and numbers with a point alike", () => {
    const rows = [{ port: 22 }, { port: 23 }, { port: 23.5 }]
    expect(matches("event.port == 23", rows)).toEqual([false, true, false])
    expect(matches("event.port == 23.0", rows)).toEqual([false, true, false])
    expect(matches("23 == event.port", rows)).toEqual([false, true, false])
    expect(matches("event.port > 23", rows)).toEqual([false, false, true])
    expect(matches("event.port >= 23", rows)).toEqual([false, true, true])
    expect(matches("event.port < 23", rows)).toEqual([true, false, false])
    expect(matches("event.port <= 23", rows)).toEqual([true, true, false])
    expect(matches("22.5 < event.port", rows)).toEqual([false, true, true])
    expect(matches("event.port != 23", rows)).toEqual([true, false, true])
    expect(matches("event.port in [22, 23]", rows)).toEqual([true, true, false])
  })

  it("fold constants, so that sizes can be written as products", () => {
    const rows = [{ bytes: 10 * 1024 * 1024 }, { bytes: 10 * 1024 * 1024 + 1 }]
    expect(matches("event.bytes > 10 * 1024 * 1024", rows)).toEqual([false, true])
    expect(matches("event.bytes > 10.0 * 1024 * 1024", rows)).toEqual([false, true])
    expect(matches("event.bytes < -(-5)", [{ bytes: 4 }])).toEqual([true])
  })

  it("compare two columns", () => {
    const rows = [{ port: 1, bytes: 2 }, { port: 2, bytes: 2 }, { port: 3, bytes: 2 }, { port: 3 }]
    expect(matches("event.port < event.bytes", rows)).toEqual([true, false, false, false])
    expect(matches("event.port >= event.bytes", rows)).toEqual([false, true, true, false])
    expect(matches("event.port != event.bytes", rows)).toEqual([true, false, true, false])
  })

  it("read windows and the device", () => {
    const rows = [{ count1m: 100, device: "a" }, { count1m: 5, device: "b" }, { device: "b" }]
    expect(matches("window.count1m > 50", rows)).toEqual([true, false, false])
    expect(matches('event.device == "b"', rows)).toEqual([false, true, true])
    expect(matches('event.device != "b" || has(window.count1m)', rows)).toEqual([true, true, false])
    expect(matches('event.device.startsWith("a")', rows)).toEqual([true, false, false])
  })

  it("take categories by value, also such as came after the dictionary was full", () => {
    const cell = makeCell(2)
    const rows: ReadonlyArray<Row> = [
      { agent: "one" },
      { agent: "two" },
      { agent: "three" },
      { agent: "thre€", escaped: true },
      { agent: "four" },
      {}
    ]
    const at = (rule: string) => decide({ rule }, rows, cell).hits.map((hit) => hit === 0)
    expect(at('event.agent == "two"')).toEqual([false, true, false, false, false, false])
    expect(at('event.agent == "three"')).toEqual([false, false, true, false, false, false])
    expect(at('event.agent == "thre€"')).toEqual([false, false, false, true, false, false])
    expect(at('event.agent != "three"')).toEqual([true, true, false, true, true, false])
    expect(at('event.agent in ["one", "three", "five"]')).toEqual([true, false, true, false, false, false])
    expect(at('!(event.agent in ["one", "three"])')).toEqual([false, true, false, true, true, true])
    expect(at('event.agent.startsWith("t")')).toEqual([false, true, true, true, false, false])
    const many = `event.agent in [${["two", "three", ..."abcdefghij"].map((text) => `"${text}"`).join(", ")}]`
    expect(at(many)).toEqual([false, true, true, false, false, false])
  })

  it("see a constant that a later batch brings for the first time", () => {
    const cell = makeCell()
    const bound = bindRules({ rule: 'event.proto == "udp"' }, cell)
    const hits = new Int16Array(2)
    const first = columnsOf(cell, [{ proto: "tcp" }, { proto: "icmp" }])
    bound.evaluate(first.batch, first.events, 0, 2, first.windows, hits)
    expect([...hits]).toEqual([-1, -1])
    const second = columnsOf(cell, [{ proto: "tcp" }, { proto: "udp" }])
    bound.evaluate(second.batch, second.events, 0, 2, second.windows, hits)
    expect([...hits]).toEqual([-1, 0])
    expect(cell.interners[0].count).toBe(3)
  })
})

describe("missing values", () => {
  const row = [{}]

  it.each([
    ["event.port > 3", false],
    ["event.port != 3", false],
    ["!(event.port > 3)", true],
    ["event.encrypted", false],
    ["!event.encrypted", true],
    ["event.encrypted == false", false],
    ["event.encrypted != true", false],
    ["event.encrypted == event.encrypted", false],
    ["event.encrypted == (event.port > 3)", false],
    ["(!event.encrypted) == true", true],
    ["has(event.port)", false],
    ["!has(event.proto)", true],
    ["event.proto == event.agent", false],
    ['event.proto in ["tcp"]', false],
    ['event.proto.startsWith("t")', false],
    ['!event.proto.startsWith("t")', true],
    ["event.port + 1 > 0", false],
    ["!(event.port + 1 > 0)", true],
    ["(has(event.port) ? event.port : 7) == 7", true],
    ["(event.port > 3 ? 1.0 : 2.0) == 2.0", true],
    ["event.port > 3 ? true : event.encrypted == true", false],
    ["event.port > 3 || true", true],
    ["window.count1m < 1", false]
  ])("%s is %s where everything is missing", (rule, expected) => {
    expect(matches(rule, row)).toEqual([expected])
    expect(decide({ rule }, row).errors).toBe(0)
  })

  it("are missing windows too where none are given", () => {
    const cell = makeCell()
    const { batch, events } = columnsOf(cell, [{}, {}])
    const bound = bindRules({ rule: "window.count1m >= 0", row: "window.count1m + 1 > 0" }, cell)
    const hits = new Int16Array(2)
    bound.evaluate(batch, events, 0, 2, undefined, hits)
    expect([...hits]).toEqual([-1, -1])
  })
})

describe("order", () => {
  it("is that of the declaration: the first rule that matches decides", () => {
    const rows = [{ port: 23, proto: "tcp" }, { port: 23 }, { port: 80, proto: "tcp" }, { port: 81 }]
    const rules = {
      both: 'event.port == 23 && event.proto == "tcp"',
      telnet: "event.port == 23",
      web: "event.port == 80"
    }
    expect(decide(rules, rows).hits).toEqual([0, 1, 2, -1])
  })

  it("spares later rules the rows that an earlier one decided", () => {
    const rows = [
      { agent: "ab", port: 1 },
      { agent: "a", port: 2 }
    ]
    const second = 'event.agent.charAt(5) == "x"'
    expect(decide({ second }, rows).errors).toBe(2)
    expect(decide({ first: "event.port > 0", second }, rows)).toMatchObject({ hits: [0, 0], errors: 0 })
  })

  it("holds over blocks of rows and in any part of a batch", () => {
    const rows = Array.from({ length: 2_000 }, (_, i) => ({ port: i, agent: `a${i % 7}` }))
    const rules = { odd: "int(event.port) % 2 == 1", high: 'event.port >= 1000 && event.agent.endsWith("3")' }
    const cell = makeCell()
    const { batch, events, windows } = columnsOf(cell, rows)
    const bound = bindRules(rules, cell)
    const hits = new Int16Array(2_000).fill(7)
    bound.evaluate(batch, events, 100, 1_900, windows, hits)
    rows.forEach((row, i) => {
      const expected = i % 2 === 1 ? 0 : i >= 1_000 && row.agent === "a3" ? 1 : -1
      expect(hits[i], `row ${i}`).toBe(i < 100 || i >= 1_900 ? 7 : expected)
    })
  })
})

describe("terms that run row by row", () => {
  it("see only rows that the cheap terms let through, wherever these stand", () => {
    const rows = [{ port: 1, agent: "a" }, { port: 2, agent: "a" }, { agent: "a" }]
    expect(decide({ rule: 'event.agent.charAt(3) == "x" && event.port == 2' }, rows).errors).toBe(1)
    expect(decide({ rule: 'event.agent.charAt(3) == "x" || event.port == 2' }, rows)).toMatchObject({
      hits: [-1, 0, -1],
      errors: 2
    })
  })

  it("count an evaluation that fails, and take it as not matched", () => {
    const rows = [{ agent: "abc" }, { agent: "a" }, { agent: "a" }, {}]
    expect(decide({ rule: 'event.agent.charAt(2) == "c"' }, rows)).toMatchObject({
      hits: [0, -1, -1, -1],
      errors: 2
    })
    expect(decide({ rule: "int(event.bytes) == 1" }, [{ bytes: 1.5 }, { bytes: 1e300 }])).toMatchObject({
      hits: [0, -1],
      errors: 1
    })
  })

  it("do not look at texts beyond 8 KiB: such an evaluation fails and is counted", () => {
    const rows = [{ agent: `${"a".repeat(8_190)}zz` }, { agent: `${"a".repeat(8_191)}zz` }]
    expect(decide({ rule: 'event.agent.contains("zz")' }, rows)).toMatchObject({ hits: [0, -1], errors: 1 })
  })

  it("match patterns in time linear in the text", () => {
    const rows = [{ agent: `${"a".repeat(4_000)}!` }, { agent: "aaaa" }]
    const started = performance.now()
    expect(matches('event.agent.matches("^(a+)+$")', rows)).toEqual([false, true])
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  it("take a `?:` whose condition is a rule of its own", () => {
    const rows = [
      { port: 1, bytes: 5, duration: 1 },
      { port: 2, bytes: 5, duration: 1 },
      { port: 1, duration: 9 },
      { port: 2, bytes: 5 }
    ]
    const rule = "(event.port == 1 ? event.bytes : (has(event.duration) ? event.duration : 100)) * 2 > 9"
    expect(matches(rule, rows)).toEqual([true, false, false, true])
    expect(decide({ rule }, rows).errors).toBe(0)
  })
})

describe("properties", () => {
  // A rule as text beside its meaning, written down a second time.
  interface Sample {
    readonly text: string
    readonly holds: (row: Row) => boolean
  }
  const fields = ["port", "bytes", "duration"] as const
  const texts = ["", "a", "tcp", "udp", "grün", 'q"']
  const quote = (text: string) => `"${text.replaceAll('"', '\\"')}"`
  const compare: Readonly<Record<string, (a: number, b: number) => boolean>> = {
    "==": (a, b) => a === b,
    "!=": (a, b) => a !== b,
    "<": (a, b) => a < b,
    "<=": (a, b) => a <= b,
    ">": (a, b) => a > b,
    ">=": (a, b) => a >= b
  }
  const operator = fc.constantFrom(...Object.keys(compare))
  const small = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(-0.5, 0.5, 1e300))
  const field = fc.constantFrom(...fields)
  const leaf: fc.Arbitrary<Sample> = fc.oneof(
    fc.tuple(field, operator, small).map(
      ([name, op, value]): Sample => ({
        text: `event.${name} ${op} ${value}`,
        holds: (row) => row[name] !== undefined && compare[op](row[name], value)
      })
    ),
    fc.tuple(field, operator, field, small).map(
      ([name, op, other, value]): Sample => ({
        text: `event.${name} + ${value} ${op} event.${other}`,
        holds: (row) =>
          row[name] !== undefined && row[other] !== undefined && compare[op](row[name] + value, row[other])
      })
    ),
    fc.tuple(field, operator, field).map(
      ([name, op, other]): Sample => ({
        text: `event.${name} ${op} event.${other}`,
        holds: (row) =>
          row[name] !== undefined && row[other] !== undefined && compare[op](row[name], row[other])
      })
    ),
    fc.tuple(field, fc.array(small, { minLength: 1, maxLength: 4 })).map(
      ([name, list]): Sample => ({
        text: `event.${name} in [${list.join(", ")}]`,
        holds: (row) => row[name] !== undefined && list.includes(row[name])
      })
    ),
    fc.constantFrom(...texts).map(
      (text): Sample => ({
        text: `event.proto == ${quote(text)}`,
        holds: (row) => row.proto === text
      })
    ),
    fc.constantFrom(...texts).map(
      (text): Sample => ({
        text: `event.agent != ${quote(text)}`,
        holds: (row) => row.agent !== undefined && row.agent !== text
      })
    ),
    fc.constantFrom(...texts).map(
      (text): Sample => ({
        text: `event.agent.contains(${quote(text)})`,
        holds: (row) => row.agent?.includes(text) === true
      })
    ),
    fc.array(fc.constantFrom(...texts), { minLength: 1, maxLength: 10 }).map(
      (list): Sample => ({
        text: `event.agent in [${list.map(quote).join(", ")}]`,
        holds: (row) => row.agent !== undefined && list.includes(row.agent)
      })
    ),
    fc.constant<Sample>({ text: "event.encrypted", holds: (row) => row.encrypted === true }),
    fc.constant<Sample>({ text: "event.encrypted != true", holds: (row) => row.encrypted === false }),
    field.map((name): Sample => ({ text: `has(event.${name})`, holds: (row) => row[name] !== undefined })),
    fc.boolean().map((value): Sample => ({ text: String(value), holds: () => value }))
  )
  const { rule } = fc.letrec<{ rule: Sample }>((tie) => ({
    rule: fc.oneof(
      { maxDepth: 4, depthSize: "small" },
      leaf,
      fc.tuple(tie("rule"), tie("rule")).map(([a, b]) => ({
        text: `(${a.text} && ${b.text})`,
        holds: (row: Row) => a.holds(row) && b.holds(row)
      })),
      fc.tuple(tie("rule"), tie("rule")).map(([a, b]) => ({
        text: `(${a.text} || ${b.text})`,
        holds: (row: Row) => a.holds(row) || b.holds(row)
      })),
      tie("rule").map((a) => ({ text: `!(${a.text})`, holds: (row: Row) => !a.holds(row) })),
      fc.tuple(tie("rule"), tie("rule")).map(([a, b]) => ({
        text: `((${a.text}) ? 1.0 : 2.0) < ((${b.text}) ? 2 : 1)`,
        holds: (row: Row) => (a.holds(row) ? 1 : 2) < (b.holds(row) ? 2 : 1)
      })),
      fc.tuple(tie("rule"), tie("rule"), tie("rule")).map(([a, b, c]) => ({
        text: `((${a.text}) ? ${b.text} : ${c.text})`,
        holds: (row: Row) => (a.holds(row) ? b.holds(row) : c.holds(row))
      }))
    )
  }))
  const optional = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })
  const row = fc.record({
    port: optional(small),
    bytes: optional(small),
    duration: optional(small),
    encrypted: optional(fc.boolean()),
    proto: optional(fc.constantFrom(...texts)),
    agent: optional(fc.constantFrom(...texts)),
    escaped: fc.boolean()
  }) as fc.Arbitrary<Row>

  it("a rule means the same by column loops and by definition, for full dictionaries too", () => {
    fc.assert(
      fc.property(
        rule,
        fc.array(row, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 8 }),
        (sample, rows, size) => {
          const result = decide({ rule: sample.text }, rows, makeCell(size))
          expect(result.errors).toBe(0)
          expect(result.hits.map((hit) => hit === 0)).toEqual(rows.map(sample.holds))
        }
      ),
      { seed: 20_240_601, numRuns: 1_500 }
    )
  })

  it("no text makes the compiler throw", () => {
    const words = fc.constantFrom(
      "event",
      ".",
      "port",
      "proto",
      "(",
      ")",
      "[",
      "]",
      "&&",
      "||",
      "!",
      "==",
      "<",
      "1",
      "2.5",
      '"a"',
      " ",
      "in",
      "has",
      "?",
      ":",
      "-",
      "+",
      "matches",
      ",",
      "{",
      "}",
      "x",
      "null",
      "b'a'",
      "1u",
      "all"
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(words, { maxLength: 14 }).map((list) => list.join("")),
          fc.string()
        ),
        (text) => {
          const compiled = compileRules(planOf({ rule: text }))
          if (!compiled.ok) {
            expect(compiled.problems.length).toBeGreaterThan(0)
            for (const problem of compiled.problems) expect(problem.message.length).toBeGreaterThan(5)
          }
        }
      ),
      { seed: 7, numRuns: 4_000 }
    )
  })
})
