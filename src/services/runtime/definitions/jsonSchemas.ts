// The JSON Schemas that editors check files with, made from the same schemas that decode the files.
import { JSONSchema } from "effect"
import { StreamDefinition } from "../../../schema/stream/StreamDefinition.ts"
import { streamLimits } from "./streamChecks.ts"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }
type JsonObject = { readonly [key: string]: Json }

/** JSON Schemas (draft 7) by file name, as published under docs/schemas/. */
export const jsonSchemas = (): Readonly<Record<string, JsonObject>> => ({
  "stream.schema.json": streamSchema()
})

const streamSchema = (): JsonObject => {
  const schema = portable(JSON.parse(JSON.stringify(JSONSchema.make(StreamDefinition)))) as JsonObject
  const properties = schema.properties as JsonObject
  const fields = properties.fields as JsonObject
  const windows = properties.windows as JsonObject
  const score = properties.score as JsonObject
  // What a filter says in code, once more in the words of JSON Schema.
  return {
    ...schema,
    properties: {
      ...properties,
      fields: {
        ...fields,
        minProperties: 1,
        maxProperties: streamLimits.numbersMax + streamLimits.categoriesMax
      },
      windows: {
        ...windows,
        items: {
          ...(windows.items as JsonObject),
          title: "window",
          description: "A sliding window per device: `count: true`, or `sum` of a number field.",
          oneOf: [{ required: ["count"] }, { required: ["sum"] }]
        }
      },
      score: {
        ...score,
        properties: {
          timeout: {
            ...((score.properties as JsonObject).timeout as JsonObject),
            description: "From 1ms to 100ms; default 100ms."
          }
        }
      }
    }
  }
}

// Draft 7 ignores what stands beside a `$ref`, so that goes into `allOf`; unfriendly default words go.
const portable = (json: Json): Json => {
  if (Array.isArray(json)) return json.map(portable)
  if (typeof json !== "object" || json === null) return json
  const { $ref, ...rest } = json as JsonObject
  const own: Record<string, Json> = {}
  for (const [key, value] of Object.entries(rest)) own[key] = key === "examples" ? value : portable(value)
  if ($ref === undefined) return own
  if (Object.keys(own).length === 0) return { $ref }
  return { ...own, allOf: [{ $ref }, ...((own.allOf as ReadonlyArray<Json> | undefined) ?? [])] }
}
