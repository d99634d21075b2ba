import { Effect, Either } from "effect"
import { describe, expect, it } from "vitest"
import { readCommandLine } from "../../../src/services/cli/commandLine.ts"
import {
  choiceFlag,
  optionalArgument,
  optionalFlag,
  repeatedArgument,
  requiredArgument,
  requiredFlag,
  switchFlag
} from "../../../src/services/cli/inputs.ts"
import { group, subcommand } from "../../../src/services/cli/subcommand.ts"

const get = subcommand({
  name: "get",
  summary: "List",
  inputs: {
    id: optionalArgument("ID", "the device"),
    output: choiceFlag("output", {
      alias: "o",
      about: "form",
      choices: ["table", "json"],
      fallback: "table"
    }),
    limit: optionalFlag("limit", { value: "N", about: "at most" }),
    all: switchFlag("all", "everything")
  },
  run: () => Effect.void
})
const send = subcommand({
  name: "send",
  summary: "Send",
  inputs: {
    file: requiredFlag("input", { value: "FILE", about: "what to send" }),
    id: requiredArgument("ID", "the target")
  },
  run: () => Effect.void
})
const check = subcommand({
  name: "check",
  summary: "Check",
  inputs: { files: repeatedArgument("FILE", "a file", 1) },
  run: () => Effect.void
})
const root = group({
  name: "tool",
  summary: "A tool",
  children: [group({ name: "devices", summary: "Devices", children: [get] }), send, check]
}).page

const words = (...given: ReadonlyArray<string>) => {
  const asked = Either.getOrThrow(readCommandLine(root, given))
  return asked.kind === "run" ? asked.words : asked.kind
}
const problem = (...given: ReadonlyArray<string>) =>
  Either.match(readCommandLine(root, given), {
    onLeft: (error) => error.message,
    onRight: (asked) => asked.kind
  })

describe("readCommandLine", () => {
  it("takes flags before and after arguments, long, short, with = and glued", () => {
    const expected = ["devices", "get", "--output", "json", "--", "pump-1"]
    expect(words("devices", "get", "pump-1", "-o", "json")).toEqual(expected)
    expect(words("devices", "get", "-ojson", "pump-1")).toEqual(expected)
    expect(words("devices", "get", "-o=json", "pump-1")).toEqual(expected)
    expect(words("devices", "get", "--output=json", "pump-1")).toEqual(expected)
  })

  it("takes everything behind -- as arguments", () => {
    expect(words("devices", "get", "--all", "--", "--help")).toEqual([
      "devices",
      "get",
      "--all",
      "--",
      "--help"
    ])
  })

  it("asks for help and version anywhere they can be meant", () => {
    expect(words()).toBe("help")
    expect(words("--version")).toBe("version")
    expect(words("devices", "get", "x", "--help")).toBe("help")
    expect(words("help", "devices", "get")).toBe("help")
    expect(words("devices")).toBe("incomplete")
  })

  it("names an unknown command or flag with the nearest known one", () => {
    expect(problem("device")).toBe(
      "`tool` has no command 'device'. Did you mean `tool devices`? See `tool --help`."
    )
    expect(problem("frobnicate")).toBe(
      "`tool` has no command 'frobnicate'. It has devices, send, check. See `tool --help`."
    )
    expect(problem("devices", "get", "--limti=3")).toBe(
      "`tool devices get` has no flag --limti. Did you mean --limit? See `tool devices get --help`."
    )
    expect(problem("devices", "get", "-x")).toBe(
      "`tool devices get` has no flag -x. See `tool devices get --help`."
    )
  })

  it("names a wrong choice, a value that is missing and one that is too many", () => {
    expect(problem("devices", "get", "-o", "jsn")).toBe(
      "--output takes table, json, not 'jsn'. Did you mean --output json? See `tool devices get --help`."
    )
    expect(problem("devices", "get", "--limit")).toBe(
      "--limit needs a value: --limit N. See `tool devices get --help`."
    )
    expect(problem("devices", "get", "--all=yes")).toBe(
      "--all takes no value. See `tool devices get --help`."
    )
    expect(problem("devices", "get", "a", "b")).toBe(
      "`tool devices get` takes ID; 'b' is one too many. See `tool devices get --help`."
    )
  })

  it("names what is required", () => {
    expect(problem("send", "x")).toBe("`tool send` needs --input FILE: what to send. See `tool send --help`.")
    expect(problem("send", "--input", "f")).toBe("`tool send` needs ID: the target. See `tool send --help`.")
    expect(problem("check")).toBe("`tool check` needs FILE: a file. See `tool check --help`.")
    expect(words("check", "a", "b", "c")).toEqual(["check", "--", "a", "b", "c"])
  })
})
