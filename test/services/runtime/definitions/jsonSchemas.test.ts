// The published JSON Schemas say what the loader takes: they are up to date, and agree on the examples.
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { ruleChecks } from "../../../../src/services/rule/ruleChecks.ts"
import { jsonSchemas } from "../../../../src/services/runtime/definitions/jsonSchemas.ts"
import { readStream } from "../../../../src/services/runtime/definitions/StreamFiles.ts"
import { schemaErrors } from "./schemaErrors.ts"

const root = fileURLToPath(new URL("../../../../", import.meta.url))
const schemas = jsonSchemas()
const examples = readdirSync(`${root}deploy/examples`).filter((name) => name.endsWith(".yaml"))
const isStream = (text: string) => text.includes("stream.schema.json")
const streams = examples
  .map((name) => [name, readFileSync(`${root}deploy/examples/${name}`, "utf8")] as const)
  .filter(([, text]) => isStream(text))

describe("published schemas", () => {
  it.each(Object.keys(schemas))("%s is up to date (vitest -u writes it anew)", async (name) => {
    await expect(`${JSON.stringify(schemas[name], null, 2)}\n`).toMatchFileSnapshot(
      `${root}docs/schemas/${name}`
    )
  })

  it("describe every key, so that an editor can explain it", () => {
    const missing: Array<string> = []
    const visit = (schema: Record<string, unknown>, path: string) => {
      for (const [key, value] of Object.entries(
        (schema.properties ?? {}) as Record<string, Record<string, unknown>>
      )) {
        const known = "description" in value || "$ref" in value || key === "type"
        if (!known) missing.push(`${path}${key}`)
        visit(value, `${path}${key}.`)
      }
      for (const inner of [schema.items, ...((schema.anyOf as ReadonlyArray<unknown>) ?? [])]) {
        if (inner !== undefined) visit(inner as Record<string, unknown>, `${path}*.`)
      }
      for (const inner of Object.values((schema.patternProperties ?? {}) as object))
        visit(inner, `${path}<name>.`)
    }
    visit(schemas["stream.schema.json"], "")
    expect(missing).toEqual([])
  })

  it.each([
    ["unknown key", { strem: "x" }],
    ["wrong type", { lateness: 60 }],
    ["wrong duration", { lateness: "5 min" }],
    ["topic", { source: { topic: "my topic" } }],
    ["partitions", { source: { topic: "t", partitions: 0 } }],
    ["no fields", { fields: {} }],
    ["field's name", { fields: { "a-b": { type: "number" } } }],
    ["field's type", { fields: { a: { type: "text" } } }],
    ["field's key", { fields: { a: { type: "number", size: 3 } } }],
    ["window of nothing", { windows: [{ name: "w", over: "1m" }] }],
    ["window of two", { windows: [{ name: "w", over: "1m", count: true, sum: "a" }] }],
    ["verdict", { rules: [{ name: "r", when: "true", then: "alarm" }] }],
    ["budget", { alerts: { budget: "1 in 1 events" } }]
  ])("refuse what the loader refuses: %s", (_name, change) => {
    const fine = {
      stream: "s",
      source: { topic: "t" },
      identity: { device: "d" },
      fields: { a: { type: "number" } }
    }
    const schema = schemas["stream.schema.json"]
    expect(schemaErrors(schema, fine)).toEqual([])
    expect(schemaErrors(schema, { ...fine, ...change })).not.toEqual([])
    expect(readStream(JSON.stringify(fine), "s").problems).toEqual([])
    expect(readStream(JSON.stringify({ ...fine, ...change }), "s").problems).not.toEqual([])
  })
})

describe("examples", () => {
  it("are there", () => {
    expect(streams.map(([name]) => name)).toEqual(
      expect.arrayContaining(["flows.yaml", "logins.yaml", "sensors.yaml"])
    )
  })

  it.each(streams)("%s loads, rules included, and meets the published schema", (name, text) => {
    expect(text.split("\n")[0]).toBe("# yaml-language-server: $schema=../../docs/schemas/stream.schema.json")
    expect(readStream(text, name, [ruleChecks]).problems).toEqual([])
    expect(schemaErrors(schemas["stream.schema.json"], parse(text))).toEqual([])
  })
})
