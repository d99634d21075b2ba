// A stream as a person declares it: source, identity, fields, windows, rules, model and alert budget.
import { Schema } from "effect"
import { StreamName } from "../Ids.ts"

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A length of time: digits and one of ms, s, m, h, d (`90s`, `1.5h`). Decodes to milliseconds. */
export const DurationText = Schema.transform(
  Schema.String.pipe(
    Schema.pattern(/^\d+(\.\d+)?(ms|s|m|h|d)$/, {
      message: () => "a duration is a number and one of ms, s, m, h, d, for example `90s` or `10m`"
    })
  ).annotations({ identifier: "Duration", description: "a number and one of ms, s, m, h, d" }),
  Schema.Number,
  {
    strict: true,
    decode: (text) => {
      const [, digits, unit] = /^([\d.]+)([a-z]+)$/.exec(text) as RegExpExecArray
      return Math.round(Number(digits) * units[unit])
    },
    encode: (millis) => `${millis}ms`
  }
)

/** `1 in 10000 events`; decodes to the share of events, 0 < share ≤ 0.5. */
export const BudgetText = Schema.transform(
  Schema.String.pipe(
    Schema.pattern(/^1 in ([2-9]|[1-9]\d{1,8}) events$/, {
      message: () => "a budget reads `1 in N events` with N from 2 to 999999999, for example `1 in 10000 events`"
    })
  ).annotations({ identifier: "AlertBudget", description: "`1 in N events`" }),
  Schema.Number,
  {
    strict: true,
    decode: (text) => 1 / Number(text.split(" ")[2]),
    encode: (share) => `1 in ${Math.round(1 / share)} events`
  }
)

/** Name of a field, window or rule: what CEL accepts as an identifier. */
export const FieldName = Schema.String.pipe(
  Schema.pattern(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, {
    message: () => "a name starts with a letter or `_` and has at most 63 letters, digits and `_`"
  })
)

const path = Schema.optional(
  Schema.NonEmptyString.annotations({
    description: "where the value lies in the event, dots between levels; the field's own name by default"
  })
)

export const NumberField = Schema.Struct({
  type: Schema.Literal("number"),
  /** `log` takes sign(x)·log(1 + |x|) before anything else looks at the value: counts, sizes, durations. */
  scale: Schema.optionalWith(Schema.Literal("linear", "log"), { default: () => "linear" as const }),
  required: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  path
})

export const BooleanField = Schema.Struct({
  type: Schema.Literal("boolean"),
  required: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  path
})

export const CategoryField = Schema.Struct({
  type: Schema.Literal("category"),
  /** Distinct values kept per cell; what comes after them counts as `other`. */
  size: Schema.optionalWith(Schema.Int.pipe(Schema.between(2, 65_535)), { default: () => 256 }),
  required: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  path
})

export const Field = Schema.Union(NumberField, BooleanField, CategoryField)
export type Field = typeof Field.Type

/** A sliding window per device, in event time, kept as 6 sub-buckets: `count` of events or `sum` of a field. */
export const WindowDefinition = Schema.Struct({
  name: FieldName,
  over: DurationText,
  count: Schema.optional(Schema.Literal(true)),
  sum: Schema.optional(FieldName)
}).pipe(
  Schema.filter((window) =>
    (window.count === true) !== (window.sum !== undefined) ||
    "a window has either `count: true` or `sum: <number field>`"
  )
)

export const Severity = Schema.Literal("low", "medium", "high", "critical")
export type Severity = typeof Severity.Type

export const RuleVerdict = Schema.Literal("allow", "alert", "escalate")
export type RuleVerdict = typeof RuleVerdict.Type

export const RuleDefinition = Schema.Struct({
  name: FieldName,
  /** A CEL expression of type bool over `event.<field>` and `window.<name>`. */
  when: Schema.NonEmptyString.pipe(Schema.maxLength(4_096)),
  then: RuleVerdict,
  severity: Schema.optionalWith(Severity, { default: () => "medium" as const })
})
export type RuleDefinition = typeof RuleDefinition.Type

export const SourceFormat = Schema.Literal("json", "cloudevents")
export type SourceFormat = typeof SourceFormat.Type

export const TimeUnit = Schema.Literal("ms", "s", "us", "ns")

export const Step = Schema.Literal("deep", "fast", "baseline", "rules")
/** A rung of the ladder: which path made a score. */
export type Step = typeof Step.Type

export const StreamDefinition = Schema.Struct({
  stream: StreamName,
  description: Schema.optional(Schema.String),
  source: Schema.Struct({
    topic: Schema.NonEmptyString.pipe(Schema.maxLength(249), Schema.pattern(/^[A-Za-z0-9._-]+$/)),
    format: Schema.optionalWith(SourceFormat, { default: () => "json" as const }),
    /** Partitions made when the topic does not exist yet. */
    partitions: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 1_024)), { default: () => 4 })
  }),
  identity: Schema.Struct({
    device: Schema.NonEmptyString,
    /** Key of the event time: a number in `timeUnit`, or an RFC 3339 string. Without it the record's own time counts. */
    time: Schema.optional(Schema.NonEmptyString),
    timeUnit: Schema.optionalWith(TimeUnit, { default: () => "ms" as const }),
    /** Key of the event's id; events that repeat an id of the recent past are taken once. */
    id: Schema.optional(Schema.NonEmptyString)
  }),
  lateness: Schema.optionalWith(DurationText, { default: () => 60_000 }),
  /** Event time may lie this far ahead of the record's own time; beyond it the record's time counts. */
  ahead: Schema.optionalWith(DurationText, { default: () => 300_000 }),
  fields: Schema.Record({ key: FieldName, value: Field }),
  windows: Schema.optionalWith(Schema.Array(WindowDefinition).pipe(Schema.maxItems(16)), { default: () => [] }),
  baseline: Schema.optionalWith(Schema.Struct({ halfLife: DurationText }), {
    default: () => ({ halfLife: 86_400_000 })
  }),
  model: Schema.optional(
    Schema.Struct({
      name: Schema.NonEmptyString,
      alias: Schema.optionalWith(Schema.NonEmptyString, { default: () => "champion" })
    })
  ),
  /** Paths tried from left to right; the first that is healthy decides. */
  ladder: Schema.optionalWith(Schema.NonEmptyArray(Step), {
    default: () => ["deep", "fast", "baseline", "rules"] as const
  }),
  alerts: Schema.optionalWith(
    Schema.Struct({
      budget: Schema.optionalWith(BudgetText, { default: () => 1e-4 }),
      quiet: Schema.optionalWith(DurationText, { default: () => 600_000 })
    }),
    { default: () => ({ budget: 1e-4, quiet: 600_000 }) }
  ),
  /** How long `POST /v1/score` waits for the cell's verdict before the rules' verdict answers; at most 100 ms. */
  score: Schema.optionalWith(
    Schema.Struct({
      timeout: DurationText.pipe(Schema.filter((ms) => (ms >= 1 && ms <= 100) || "a score's timeout is 1ms to 100ms"))
    }),
    { default: () => ({ timeout: 100 }) }
  ),
  rules: Schema.optionalWith(Schema.Array(RuleDefinition).pipe(Schema.maxItems(256)), { default: () => [] })
})
export type StreamDefinition = typeof StreamDefinition.Type
