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
  ).annotations({
    identifier: "Duration",
    description: "A length of time: a number and one of ms, s, m, h, d.",
    examples: ["90s", "10m"]
  }),
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
      message: () =>
        "a budget reads `1 in N events` with N from 2 to 999999999, for example `1 in 10000 events`"
    })
  ).annotations({
    identifier: "AlertBudget",
    description: "The share of events that may alert while all is normal: `1 in N events`.",
    examples: ["1 in 10000 events"]
  }),
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
).annotations({
  identifier: "Name",
  description: "A letter or `_`, then letters, digits and `_`; at most 63 in all.",
  examples: ["bytesIn", "count1m"]
})

const path = Schema.optional(
  Schema.NonEmptyString.annotations({
    title: "path",
    description: "Where the value lies in the event, dots between levels; the field's own name by default.",
    examples: ["network.bytesIn"]
  })
)

const required = Schema.optionalWith(
  Schema.Boolean.annotations({
    title: "required",
    description: "An event without it goes to the dead letters; default false."
  }),
  { default: () => false }
)

export const NumberField = Schema.Struct({
  type: Schema.Literal("number"),
  /** `log` takes sign(x)·log(1 + |x|) before anything else looks at the value: counts, sizes, durations. */
  scale: Schema.optionalWith(
    Schema.Literal("linear", "log").annotations({
      title: "scale",
      description:
        "`log` for counts, sizes and durations, whose large values say little more; default linear."
    }),
    { default: () => "linear" as const }
  ),
  required,
  path
}).annotations({ title: "number", description: "A number of the event." })

export const BooleanField = Schema.Struct({
  type: Schema.Literal("boolean"),
  required,
  path
}).annotations({ title: "boolean", description: "`true` or `false` in the event." })

export const CategoryField = Schema.Struct({
  type: Schema.Literal("category"),
  /** Distinct values kept per cell; what comes after them counts as `other`. */
  size: Schema.optionalWith(
    Schema.Int.pipe(Schema.between(2, 65_535)).annotations({
      title: "size",
      description: "Distinct values kept per cell; what comes after them counts as `other`. Default 256."
    }),
    { default: () => 256 }
  ),
  required,
  path
}).annotations({ title: "category", description: "A text of the event with few distinct values." })

export const Field = Schema.Union(NumberField, BooleanField, CategoryField)
export type Field = typeof Field.Type

/** A sliding window per device, in event time, kept as 6 sub-buckets: `count` of events or `sum` of a field. */
export const WindowDefinition = Schema.Struct({
  name: FieldName,
  over: DurationText.annotations({ title: "over", description: "The window's length, in event time." }),
  count: Schema.optional(Schema.Literal(true).annotations({ title: "count", description: "Counts events." })),
  sum: Schema.optional(
    FieldName.annotations({ title: "sum", description: "Sums the values of this number field." })
  )
})
  .pipe(
    Schema.filter(
      (window) =>
        (window.count === true) !== (window.sum !== undefined) ||
        "a window has either `count: true` or `sum: <number field>`"
    )
  )
  .annotations({
    title: "window",
    description: "A sliding window per device: `count: true`, or `sum` of a number field."
  })

export const Severity = Schema.Literal("low", "medium", "high", "critical")
export type Severity = typeof Severity.Type

export const RuleVerdict = Schema.Literal("allow", "alert", "escalate")
export type RuleVerdict = typeof RuleVerdict.Type

export const RuleDefinition = Schema.Struct({
  name: FieldName,
  /** A CEL expression of type bool over `event.<field>` and `window.<name>`. */
  when: Schema.NonEmptyString.pipe(Schema.maxLength(4_096)).annotations({
    title: "when",
    description:
      "A CEL expression that is true or false, over event.<field>, event.device and window.<name>. What needs a missing value is false.",
    examples: ["event.port == 23", 'event.proto in ["tcp", "udp"] && window.count1m > 100']
  }),
  then: RuleVerdict.annotations({
    title: "then",
    description:
      "The first rule that matches decides: `allow` ends it there, `alert` alerts, `escalate` alerts at once."
  }),
  severity: Schema.optionalWith(
    Severity.annotations({ title: "severity", description: "How bad it is; default medium." }),
    { default: () => "medium" as const }
  )
}).annotations({ title: "rule", description: "What is known to be good or bad, whatever a model says." })
export type RuleDefinition = typeof RuleDefinition.Type

export const SourceFormat = Schema.Literal("json", "cloudevents")
export type SourceFormat = typeof SourceFormat.Type

export const TimeUnit = Schema.Literal("ms", "s", "us", "ns")

export const Step = Schema.Literal("deep", "fast", "baseline", "rules")
/** A rung of the ladder: which path made a score. */
export type Step = typeof Step.Type

export const StreamDefinition = Schema.Struct({
  stream: StreamName.annotations({
    title: "stream",
    description: "The stream's name: 1 to 63 lower-case letters, digits and `-`.",
    examples: [StreamName.make("flows"), StreamName.make("flows-eu")]
  }),
  description: Schema.optional(
    Schema.String.annotations({ title: "description", description: "What the stream is, for a person." })
  ),
  source: Schema.Struct({
    topic: Schema.NonEmptyString.pipe(
      Schema.maxLength(249),
      Schema.pattern(/^[A-Za-z0-9._-]+$/, {
        message: () => "a topic's name is 1 to 249 letters, digits, `.`, `_` and `-`, for example `flows`"
      })
    ).annotations({
      title: "topic",
      description: "The topic that events are read from.",
      examples: ["flows"]
    }),
    format: Schema.optionalWith(
      SourceFormat.annotations({
        title: "format",
        description: "How a record's value is written; default json."
      }),
      { default: () => "json" as const }
    ),
    partitions: Schema.optionalWith(
      Schema.Int.pipe(Schema.between(1, 1_024)).annotations({
        title: "partitions",
        description: "Partitions made when the topic does not exist yet; default 4."
      }),
      { default: () => 4 }
    )
  }).annotations({ title: "source", description: "Where events come from." }),
  identity: Schema.Struct({
    device: Schema.NonEmptyString.annotations({
      title: "device",
      description: "Key of what an event is about, dots between levels: a sensor, host, user, card.",
      examples: ["device", "user.id"]
    }),
    time: Schema.optional(
      Schema.NonEmptyString.annotations({
        title: "time",
        description:
          "Key of the event time: a number in `timeUnit`, or an RFC 3339 text. Without it the record's own time counts.",
        examples: ["ts"]
      })
    ),
    timeUnit: Schema.optionalWith(
      TimeUnit.annotations({ title: "timeUnit", description: "Unit of a numeric event time; default ms." }),
      { default: () => "ms" as const }
    ),
    id: Schema.optional(
      Schema.NonEmptyString.annotations({
        title: "id",
        description: "Key of the event's id; events that repeat an id of the recent past are taken once.",
        examples: ["id"]
      })
    )
  }).annotations({
    title: "identity",
    description: "What an event is about, when it was, and which one it is."
  }),
  lateness: Schema.optionalWith(DurationText, { default: () => 60_000 }).annotations({
    title: "lateness",
    description:
      "Events older than the newest by more than this are scored, but change no window and no baseline; default 60s."
  }),
  ahead: Schema.optional(DurationText).annotations({
    title: "ahead",
    description:
      "Event time may lie this far ahead of the record's own time; beyond it the record's time counts. Default 60s or the `lateness`, whichever is less; never more than the `lateness`, for one fast clock would make everyone else late."
  }),
  fields: Schema.Record({ key: FieldName, value: Field }).annotations({
    title: "fields",
    description: "What is read of an event, by name: 1 to 64 numbers and booleans, up to 32 categories."
  }),
  windows: Schema.optionalWith(
    Schema.Array(WindowDefinition).pipe(Schema.maxItems(16)).annotations({
      title: "windows",
      description: "Sliding windows per device; at most 16."
    }),
    { default: () => [] }
  ),
  baseline: Schema.optionalWith(
    Schema.Struct({
      halfLife: DurationText.annotations({
        title: "halfLife",
        description: "After this time an event weighs half in its device's mean and variance."
      }),
      events: Schema.optional(
        Schema.Int.pipe(Schema.between(1, 1_000_000)).annotations({
          title: "events",
          description:
            "… and not before so many events of the device: for devices that report seldom. Default 1, where no baseline is declared 700."
        })
      ),
      /** `lasting` costs 4 bytes a signal and device. */
      spread: Schema.optional(
        Schema.Literal("recent", "lasting").annotations({
          title: "spread",
          description:
            "What a value is held against: the device's `recent` spread, or never less than its `lasting` one, over 16 half-lives, for values that come in bursts. Default recent."
        })
      ),
      /** Costs 100 × lags + 96 bytes a number and device. */
      lags: Schema.optional(
        Schema.Int.pipe(Schema.between(2, 32)).annotations({
          title: "lags",
          description:
            "A device's last so many values of each number are held against the courses it is known to take: for few devices with one or a few series each. Default none."
        })
      ),
      gap: Schema.optional(
        Schema.Boolean.annotations({
          title: "gap",
          description:
            "Whether the time between two events of a device speaks for or against it; false where they come at random. Default true."
        })
      )
    }).annotations({ title: "baseline", description: "What a device's own normal is; default halfLife 1d." }),
    { default: () => ({ halfLife: 86_400_000, events: 700 }) }
  ),
  model: Schema.optional(
    Schema.Struct({
      name: Schema.NonEmptyString.annotations({
        title: "name",
        description: "The model's name in the registry."
      }),
      alias: Schema.optionalWith(
        Schema.NonEmptyString.annotations({
          title: "alias",
          description: "Which of its versions; default champion."
        }),
        { default: () => "champion" }
      )
    }).annotations({
      title: "model",
      description: "The model that scores; without one the rules and each device's own baseline work."
    })
  ),
  ladder: Schema.optionalWith(
    Schema.NonEmptyArray(Step).annotations({
      title: "ladder",
      description:
        "Paths tried from left to right; the first that is healthy decides. Default deep, fast, baseline, rules."
    }),
    { default: () => ["deep", "fast", "baseline", "rules"] as const }
  ),
  alerts: Schema.optionalWith(
    Schema.Struct({
      budget: Schema.optionalWith(BudgetText, { default: () => 1e-4 }).annotations({
        title: "budget",
        description: "The share of events that may alert while all is normal; default `1 in 10000 events`."
      }),
      quiet: Schema.optionalWith(DurationText, { default: () => 600_000 }).annotations({
        title: "quiet",
        description:
          "After an alert the device's further ones are counted, not raised, for this long; default 10m."
      }),
      /** Costs 4 bytes a device. */
      silence: Schema.optionalWith(Schema.Boolean, { default: () => false }).annotations({
        title: "silence",
        description:
          "Whether a device that says nothing for four times its longest pause, and longer than `lateness`, raises an alert, once until it speaks again. In event time: other devices of its partition must go on. For devices that are to report for ever; default false."
      })
    }).annotations({ title: "alerts", description: "How many alerts are wanted." }),
    { default: () => ({ budget: 1e-4, quiet: 600_000, silence: false }) }
  ),
  score: Schema.optionalWith(
    Schema.Struct({
      timeout: Schema.optionalWith(
        DurationText.pipe(
          Schema.filter((ms) => (ms >= 1 && ms <= 100) || "a score's timeout is 1ms to 100ms")
        ),
        { default: () => 100 }
      ).annotations({
        title: "timeout",
        description:
          "How long `POST /v1/score` waits for the cell's verdict before the rules' verdict answers, 1ms to 100ms; default 100ms."
      }),
      stages: Schema.optionalWith(Schema.Literal("one", "two"), {
        default: () => "one" as const
      }).annotations({
        title: "stages",
        description:
          "`two`: the fast energy judges every event, the deep one only what is suspicious by it; default one."
      }),
      suspicious: Schema.optional(BudgetText).annotations({
        title: "suspicious",
        description:
          "With two stages: the share of normal events that go on to the deep energy; default `1 in 20 events`."
      })
    }).annotations({
      title: "score",
      description: "How events are scored: in one stage or two, and how long an asker waits for it."
    }),
    { default: () => ({ timeout: 100, stages: "one" as const }) }
  ),
  drift: Schema.optionalWith(
    Schema.Struct({
      window: Schema.optionalWith(
        DurationText.pipe(Schema.filter((ms) => ms >= 8_000 || "a window of drift is 8s or more")),
        { default: () => 86_400_000 }
      ).annotations({
        title: "window",
        description:
          "Event time that is held against the training rows, in eight stretches; at least as long as habits take to come round, default 1d."
      })
    }).annotations({
      title: "drift",
      description: "How the model is watched for events that are no longer like those it was trained on."
    }),
    { default: () => ({ window: 86_400_000 }) }
  ),
  rules: Schema.optionalWith(
    Schema.Array(RuleDefinition).pipe(Schema.maxItems(256)).annotations({
      title: "rules",
      description: "Asked in this order, the first that matches decides; at most 256."
    }),
    { default: () => [] }
  )
}).annotations({
  title: "Stream definition",
  description: "A declared kind of event: source, identity, fields, windows, rules, model and alert budget."
})
export type StreamDefinition = typeof StreamDefinition.Type
