// What was found in a table's columns, for a person to read and as a stream definition to start from.
import type { TableColumn } from "../../schema/model/Manifest.ts"
import { type ColumnSurvey, runsAlong } from "./columns.ts"

export interface SchemaColumn {
  readonly name: string
  /** `boolean`: a category of true and false. */
  readonly type: "number" | "boolean" | "category" | "ignored"
  /** Numbers: taken by their logarithm. */
  readonly log: boolean
  /** Share of rows without a value. */
  readonly missing: number
  /** Least and greatest number; null where there is none. */
  readonly low: number | null
  readonly high: number | null
  /** Categories: the most frequent values, and how many there are. */
  readonly values: ReadonlyArray<string>
  readonly distinct: number | null
  /** What the column may be to a stream; null: a field, or nothing. */
  readonly role: "device" | "time" | "id" | null
  /** Unit of a time that is a number. */
  readonly timeUnit: "s" | "ms" | "us" | "ns" | null
  /** Why the column is left out; null where it is not. */
  readonly why: string | null
}

const VALUES_SHOWN = 5
const deviceNames =
  /^(device|host|hostname|user|username|sensor|card|account|client|customer|machine|asset|entity|node|terminal|vehicle|pump|meter|source|src|srcip|ip)([_ .-]?(id|name|ip|addr|address))?$/i
const idNames = /^(id|uuid|guid|event[_ .-]?id|message[_ .-]?id)$/i
/** What a stream reads as a time, with or without a zone. */
const timeText = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}/
/** Epochs of the years 2001 to 2286 by unit: digits of the whole part. */
const epochUnits = [
  ["s", 1e9, 1e10],
  ["ms", 1e12, 1e13],
  ["us", 1e15, 1e16],
  ["ns", 1e18, 1e19]
] as const

const unitOf = ({ low, high }: ColumnSurvey) =>
  epochUnits.find(([, from, to]) => low >= from && high < to)?.[0] ?? null

const roleOf = (survey: ColumnSurvey): SchemaColumn["role"] => {
  const { name, texts, numbers, odd } = survey
  if (numbers > 0 && runsAlong(survey) && unitOf(survey) !== null) return "time"
  if (texts > 0 && odd.length > 0 && odd.every(({ cell }) => timeText.test(String(cell).trim())))
    return "time"
  const distinct = survey.values.size
  if (idNames.test(name) && distinct === texts + numbers) return "id"
  return deviceNames.test(name) && distinct > 0 && distinct < texts + numbers ? "device" : null
}

/** The schema of a table; `label` has no role. Of several columns that may be one thing the first is taken. */
export const schemaOf = (
  surveys: ReadonlyArray<ColumnSurvey>,
  columns: ReadonlyArray<TableColumn>,
  whys: ReadonlyArray<string | undefined>,
  rows: number,
  label: string | undefined
): ReadonlyArray<SchemaColumn> => {
  const taken = new Set<string>()
  return surveys.map((survey, at): SchemaColumn => {
    const { type, log } = columns[at]
    const wanted = survey.name === label ? null : roleOf(survey)
    const role = wanted === null || taken.has(wanted) ? null : wanted
    if (role !== null) taken.add(role)
    const values = [...survey.values]
      .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
      .map(([text]) => text)
    const truth = type === "category" && values.every((value) => /^(true|false)$/i.test(value))
    return {
      name: survey.name,
      type: truth ? "boolean" : type,
      log,
      missing: rows === 0 ? 0 : survey.missing / rows,
      low: survey.low <= survey.high ? survey.low : null,
      high: survey.low <= survey.high ? survey.high : null,
      values: type === "category" ? values.slice(0, VALUES_SHOWN) : [],
      distinct: type === "category" ? values.length : null,
      role,
      timeUnit: role === "time" && survey.numbers > survey.texts ? unitOf(survey) : null,
      why: survey.name === label ? "the label" : (whys[at] ?? null)
    }
  })
}

/** Most fields of each kind that a stream may declare. */
const NUMBERS_MAX = 64
const CATEGORIES_MAX = 32
const CATEGORY_SIZE_MIN = 16
const FIELD_NAME_MAX = 63

const fieldNames = () => {
  const taken = new Set<string>()
  return (name: string): string => {
    const plain = name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d)/, "_")
    const base = (plain === "" ? "field" : plain).slice(0, FIELD_NAME_MAX)
    let field = base
    for (let copy = 2; taken.has(field); copy++) {
      const mark = `_${copy}`
      field = base.slice(0, FIELD_NAME_MAX - mark.length) + mark
    }
    taken.add(field)
    return field
  }
}

/** Lower-case letters, digits and dashes, as a stream's name wants them. */
export const streamNameOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, FIELD_NAME_MAX) || "stream"

const quoted = (text: string) => JSON.stringify(text)

/**
 * The schema as a stream definition in YAML, or undefined where no column would be a field. What it could only guess
 * is said in comments.
 */
export const streamText = (
  schema: ReadonlyArray<SchemaColumn>,
  { name, topic, from }: { readonly name: string; readonly topic: string; readonly from: string }
): string | undefined => {
  const fieldName = fieldNames()
  const roles = new Map(schema.flatMap((column) => (column.role === null ? [] : [[column.role, column]])))
  let numbers = 0
  let categories = 0
  const left: Array<string> = []
  const fields: Array<string> = []
  for (const column of schema) {
    if (column.type === "ignored" || column.role !== null) continue
    const full = column.type === "category" ? ++categories > CATEGORIES_MAX : ++numbers > NUMBERS_MAX
    if (full) {
      left.push(column.name)
      continue
    }
    const field = fieldName(column.name)
    const size =
      column.type === "category" ? `, size: ${Math.max(CATEGORY_SIZE_MIN, 2 * (column.distinct ?? 0))}` : ""
    const scale = column.type === "number" && column.log ? ", scale: log" : ""
    const path = field === column.name ? "" : `, path: ${quoted(column.name)}`
    fields.push(`  ${field}: { type: ${column.type}${scale}${size}${path} }`)
  }
  if (fields.length === 0) return undefined
  const device = roles.get("device")
  const time = roles.get("time")
  const id = roles.get("id")
  const identity = [
    `device: ${quoted(device?.name ?? "file")}`,
    ...(time === undefined ? [] : [`time: ${quoted(time.name)}`]),
    ...(time === undefined || time.timeUnit === null ? [] : [`timeUnit: ${time.timeUnit}`]),
    ...(id === undefined ? [] : [`id: ${quoted(id.name)}`])
  ]
  const list = (names: ReadonlyArray<string>) => names.map((one) => one.replace(/\s+/g, " ")).join(", ")
  const ignored = schema.filter(({ type, role }) => type === "ignored" && role === null)
  return [
    `# As \`groundstate train\` found it in ${from.replace(/\s+/g, " ")}: look it over before a runner serves it.`,
    ...(device === undefined
      ? [
          "# No column is named like a device: name the key that state is kept by; `file` is the file's name in a replay."
        ]
      : []),
    ...(time === undefined ? ["# No column runs like a time: the log's own time counts."] : []),
    ...(ignored.length === 0 ? [] : [`# Left out: ${list(ignored.map(({ name }) => name))}.`]),
    ...(left.length === 0
      ? []
      : [
          `# Left out, for a stream has at most ${NUMBERS_MAX} numbers and ${CATEGORIES_MAX} categories: ${list(left)}.`
        ]),
    `stream: ${quoted(streamNameOf(name))}`,
    `source: { topic: ${quoted(topic)} }`,
    `identity: { ${identity.join(", ")} }`,
    "fields:",
    ...fields,
    ""
  ].join("\n")
}
