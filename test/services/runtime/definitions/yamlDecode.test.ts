// YAML read against a schema: the value, or every problem with file, line, column, key path, what and what instead.
import { Either, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ConfigInvalid, renderProblems } from "../../../../src/schema/error/ConfigError.ts"
import { decodeYaml } from "../../../../src/services/runtime/definitions/yamlDecode.ts"

const Listen = Schema.Struct({
  host: Schema.optionalWith(Schema.NonEmptyString, { default: () => "127.0.0.1" }),
  port: Schema.Int.pipe(Schema.between(1, 65_535)),
  tls: Schema.optional(Schema.Boolean)
})
const Config = Schema.Struct({
  name: Schema.String,
  level: Schema.optionalWith(Schema.Literal("debug", "info", "warn"), { default: () => "info" as const }),
  listen: Listen,
  also: Schema.optional(Listen),
  tags: Schema.optionalWith(Schema.Array(Schema.String).pipe(Schema.maxItems(3)), { default: () => [] })
})

const problems = (text: string) => {
  const result = decodeYaml(Config, text, "app.yaml")
  return Either.isLeft(result) ? result.left : []
}
const rendered = (text: string) => renderProblems(problems(text))

describe("a text that meets the schema", () => {
  it("gives the value, with defaults filled in", () => {
    const text = "# comment\nname: a\nlisten: { port: 8080 }\n"
    expect(decodeYaml(Config, text, "app.yaml")).toEqual(
      Either.right({ name: "a", level: "info", listen: { host: "127.0.0.1", port: 8080 }, tags: [] })
    )
  })

  it("may use anchors and aliases within bounds", () => {
    const text = "name: a\nlisten: &l { port: 8080, host: h }\nalso: *l\n"
    expect(Either.getOrThrow(decodeYaml(Config, text, "app.yaml")).also).toEqual({ host: "h", port: 8080 })
  })
})

describe("values that break the schema", () => {
  it("are told all at once, by place", () => {
    const text = [
      "nam: a",
      "level: inf",
      "listen:",
      "  hots: x",
      "  port: 70000",
      "  tls: yes",
      "tags: [a, 2, b, c]",
      "also:"
    ].join("\n")
    expect(rendered(text).split("\n")).toEqual(
      [
        "app.yaml:1:1  nam          `nam` is unknown; did you mean `name`?",
        "app.yaml:1:1  name         is missing; add `name: <a text>`",
        'app.yaml:2:8  level        "inf" is not taken; did you mean `info`? Write one of `debug`, `info`, `warn`',
        "app.yaml:4:3  listen.hots  `hots` is unknown; did you mean `host`?",
        "app.yaml:5:9  listen.port  70000 is not taken; write a whole number from 1 to 65535",
        'app.yaml:6:8  listen.tls   "yes" is not taken; write `true` or `false`',
        "app.yaml:7:1  tags         a list of 4 is not taken; write a list of at most 3",
        "app.yaml:7:11  tags.1      2 is not taken; write a text",
        "app.yaml:8:1  also         is empty; write the keys host, port, tls, or leave the key out"
      ]
        .map((line) => line)
        .map((line) => alignTo(line, "app.yaml:7:11".length))
    )
  })

  it("name the known keys where none is near", () => {
    expect(rendered("name: a\nlisten: { port: 1 }\nzzz: 1")).toBe(
      "app.yaml:3:1  zzz  `zzz` is unknown; known keys are: name, level, listen, also, tags"
    )
  })

  it("find a missing key at what should hold it", () => {
    expect(rendered("name: a\n\nlisten: {}\n")).toBe(
      "app.yaml:3:1  listen.port  is missing; add `port: <a whole number from 1 to 65535>`"
    )
  })

  it("are found where they stand behind an alias", () => {
    expect(problems("name: a\nlisten: &l\n  port: x\nalso: *l\n")).toMatchObject([
      { path: "listen.port", line: 3, column: 9 },
      { path: "also.port", line: 3, column: 9 }
    ])
  })

  it("are told for a file that is another thing altogether", () => {
    expect(rendered("- 1\n- 2\n")).toBe(
      "app.yaml:1:1    a list of 2 is not taken; write the keys name, level, listen, also, tags"
    )
    expect(rendered("just text")).toBe(
      'app.yaml:1:1    "just text" is not taken; write the keys name, level, listen, also, tags'
    )
  })
})

describe("texts that are no YAML, or too much of it", () => {
  it.each([
    ["", "app.yaml    the file is empty; write the keys it needs; an editor with the schema lists them"],
    [
      "# nothing\n",
      "app.yaml    the file is empty; write the keys it needs; an editor with the schema lists them"
    ],
    [
      "name: a\nname: b\nlisten: { port: 1 }",
      "app.yaml:2:1  name  `name` is declared twice; keep one of the two"
    ],
    ["name: a\nlisten:\n\tport: 1", "app.yaml:3:1  listen  a tab indents this line; indent with spaces"],
    [
      "name: a: b",
      "app.yaml:1:7  name.a  a second `: ` on one line; put a text that contains `: ` in quotes, or start a new line"
    ],
    [
      "name: *a",
      "app.yaml:1:7  name  the alias *a has no anchor above it; write the value out, or mark it with &a; a text that starts with * stands in quotes"
    ],
    ["name: &a [*a]", "app.yaml:1:11  name.0  the alias *a contains itself; write the value out"],
    [
      "name: !js 3\nlisten: { port: 1 }",
      "app.yaml:1:7  name  the tag !js is unknown; leave the tag out, or put a text that starts with `!` in quotes"
    ],
    [
      "name: a\n---\nname: b",
      "app.yaml:2:1  name  a second document starts here; keep one document per file, without `---` between"
    ],
    ["? [a]\n: 1", "app.yaml:1:3    a key is a list, a map or an alias; write the key as a text"],
    [
      'name: "a\\q"',
      "app.yaml:1:9  name  an unknown escape in a text in double quotes; double the backslash, or use single quotes"
    ],
    ["__proto__: { a: 1 }", "app.yaml:1:1  __proto__  `__proto__` is no key; use another name"]
  ])("%j", (text, expected) => {
    expect(rendered(text).split("\n")[0]).toBe(expected)
  })

  it("are refused beyond 1 MiB", () => {
    expect(problems(`name: ${"a".repeat(1_048_576)}`)).toMatchObject([
      { line: 0, message: "the file is larger than 1 MiB" }
    ])
  })

  it("are refused when aliases multiply", () => {
    const levels = "bcdefghi"
      .split("")
      .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`)
    const found = problems(`a: &a [1,1,1,1,1,1,1,1,1]\n${levels.join("\n")}`)
    expect(found).toMatchObject([{ file: "app.yaml", fix: "write the values out in place of the aliases" }])
  })

  it("are refused when nested without end", () => {
    const deep = [
      "[".repeat(1_000_000),
      `name: ${"[".repeat(65)}${"]".repeat(65)}`,
      "{a: ".repeat(200_000),
      "- ".repeat(500_000),
      "? ".repeat(500_000),
      Array.from({ length: 300 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")
    ]
    const started = performance.now()
    for (const text of deep) expect(problems(text)[0].message).toBe("the file is nested too deep")
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  it("are told by their first 100 problems", () => {
    expect(problems("a: b: c\n".repeat(1_000)).length).toBe(100)
  })

  it("take time in proportion to their length, whatever they hold", () => {
    const many = Array.from({ length: 30_000 }, (_, i) => `key${i}: 1`).join("\n")
    const started = performance.now()
    expect(problems(many).length).toBe(100)
    expect(problems("name: 1\n".repeat(30_000)).length).toBeLessThanOrEqual(200)
    expect(performance.now() - started).toBeLessThan(15_000)
  })

  it("never make the reader throw", () => {
    const words = fc.constantFrom(
      "name",
      "listen",
      "port",
      ":",
      ": ",
      "\n",
      "  ",
      "- ",
      "{",
      "}",
      "[",
      "]",
      ",",
      "&a ",
      "*a",
      "!t ",
      '"',
      "'",
      "|",
      ">",
      "#",
      "?",
      "%",
      "---\n",
      "1",
      "true",
      "null",
      "\t",
      "<<"
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(words, { maxLength: 25 }).map((list) => list.join("")),
          fc.string()
        ),
        (text) => {
          const result = decodeYaml(Config, text, "app.yaml")
          if (Either.isLeft(result)) {
            expect(result.left.length).toBeGreaterThan(0)
            for (const problem of result.left)
              expect(problem.line).toBeLessThanOrEqual(text.split("\n").length)
          }
        }
      ),
      { seed: 11, numRuns: 4_000 }
    )
  })
})

it("ConfigInvalid says how many problems there are, what that means, and lists them", () => {
  const error = new ConfigInvalid({ problems: problems("nam: a\nlisten: { port: 1 }") })
  expect(error.message).toBe(
    "2 problems in 1 file. Nothing of this configuration is in effect; correct what is listed and try again.\n" +
      "app.yaml:1:1  nam   `nam` is unknown; did you mean `name`?\n" +
      "app.yaml:1:1  name  is missing; add `name: <a text>`"
  )
})

// The first column of a line padded to `width`.
const alignTo = (line: string, width: number): string => {
  const [place, ...rest] = line.split(/ {2,}/)
  return [place.padEnd(width), rest[0].padEnd("listen.hots".length), rest.slice(1).join("  ")].join("  ")
}
