// What a stream definition must keep to beyond its schema: names that refer to each other, and bounds.
import type { StreamDefinition } from "../../../schema/stream/StreamDefinition.ts"
import { type StreamPlan, SUSPICIOUS_SHARE } from "../../../schema/stream/StreamPlan.ts"
import { nearestName } from "./nearestName.ts"

/** A problem of a decoded definition. `at`: character (from 1) inside the text at `path`. */
export interface DefinitionProblem {
  readonly path: ReadonlyArray<PropertyKey>
  readonly message: string
  readonly fix: string
  readonly at?: number
}

/** A further check of definitions, such as that the rules compile. Throws nothing. */
export type DefinitionCheck = (
  definition: StreamDefinition,
  plan: StreamPlan
) => ReadonlyArray<DefinitionProblem>

/** Bounds of one stream. */
export const streamLimits = {
  /** Numeric columns, booleans among them. */
  numbersMax: 64,
  categoriesMax: 32
} as const

/** CEL keeps these words, so that no rule could name such a field or window. */
const reserved = ["true", "false", "null", "in"]

/** Every problem of a definition that its schema can't see. */
export const streamProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => [
  ...fieldProblems(definition),
  ...pathProblems(definition),
  ...identityProblems(definition),
  ...windowProblems(definition),
  ...ladderProblems(definition),
  ...stageProblems(definition),
  ...ruleNameProblems(definition),
  ...lengthProblems(definition)
]

const fieldProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const problems: Array<DefinitionProblem> = []
  const names = Object.keys(definition.fields)
  const categories = names.filter((name) => definition.fields[name].type === "category").length
  const numbers = names.length - categories
  if (names.length === 0) {
    problems.push({
      path: ["fields"],
      message: "no field is declared",
      fix: "declare at least one, for example `bytesIn: { type: number, scale: log }`"
    })
  }
  if (numbers > streamLimits.numbersMax) {
    problems.push({
      path: ["fields"],
      message: `${numbers} numbers and booleans are declared`,
      fix: `declare at most ${streamLimits.numbersMax}`
    })
  }
  if (categories > streamLimits.categoriesMax) {
    problems.push({
      path: ["fields"],
      message: `${categories} categories are declared`,
      fix: `declare at most ${streamLimits.categoriesMax}`
    })
  }
  for (const name of names) {
    if (!reserved.includes(name)) continue
    problems.push({
      path: ["fields", name],
      message: `\`${name}\` is a word of the rules' language`,
      fix: `name the field otherwise and add \`path: ${name}\``
    })
  }
  return problems
}

const emptyLevel = (path: string): boolean => path.split(".").includes("")

// Two fields can't read one value, and a value can't be an object for one field and a number for another.
const pathProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const problems: Array<DefinitionProblem> = []
  const seen = new Map<string, string>()
  const entries = Object.entries(definition.fields).map(
    ([name, field]) => [name, field.path ?? name] as const
  )
  for (const [name, path] of entries) {
    const at = ["fields", name, ...(definition.fields[name].path === undefined ? [] : ["path"])]
    if (emptyLevel(path)) {
      problems.push({
        path: at,
        message: `the path \`${path}\` has an empty level`,
        fix: "write keys with single dots between"
      })
      continue
    }
    const other = seen.get(path)
    if (other !== undefined) {
      problems.push({
        path: at,
        message: `reads the same value as field \`${other}\``,
        fix: "keep one of the two"
      })
    }
    seen.set(path, name)
  }
  for (const [name, path] of entries) {
    const inside = entries.find(([, other]) => other.startsWith(`${path}.`))
    if (inside === undefined) continue
    problems.push({
      path: ["fields", name],
      message: `\`${path}\` can't be a value and hold \`${inside[1]}\``,
      fix: `correct the path of \`${name}\` or of \`${inside[0]}\``
    })
  }
  return problems
}

const identityProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const problems: Array<DefinitionProblem> = []
  const seen = new Map<string, string>()
  for (const key of ["device", "time", "id"] as const) {
    const path = definition.identity[key]
    if (path === undefined) continue
    if (emptyLevel(path)) {
      problems.push({
        path: ["identity", key],
        message: `the key \`${path}\` has an empty level`,
        fix: "write keys with single dots between"
      })
    }
    const other = seen.get(path)
    if (other !== undefined) {
      problems.push({
        path: ["identity", key],
        message: `names the same key as identity.${other}`,
        fix: `name the key of the event's ${key}${key === "device" ? "" : ", or leave it out"}`
      })
    }
    seen.set(path, key)
  }
  return problems
}

const windowProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const problems: Array<DefinitionProblem> = []
  const seen = new Set<string>()
  const summable = Object.keys(definition.fields).filter((name) => definition.fields[name].type === "number")
  for (const [index, window] of definition.windows.entries()) {
    const path = ["windows", index, "name"]
    if (seen.has(window.name)) {
      problems.push({
        path,
        message: `a second window is named \`${window.name}\``,
        fix: "give each its own name"
      })
    }
    seen.add(window.name)
    if (Object.hasOwn(definition.fields, window.name)) {
      problems.push({
        path,
        message: `\`${window.name}\` is a field's name too`,
        fix: `name the window otherwise, for example \`${window.name}1m\``
      })
    }
    if (reserved.includes(window.name)) {
      problems.push({
        path,
        message: `\`${window.name}\` is a word of the rules' language`,
        fix: "name the window otherwise"
      })
    }
    if (window.sum === undefined || summable.includes(window.sum)) continue
    const field = Object.hasOwn(definition.fields, window.sum) ? definition.fields[window.sum] : undefined
    const near = nearestName(window.sum, summable)
    problems.push({
      path: ["windows", index, "sum"],
      message:
        field === undefined
          ? `\`${window.sum}\` is no declared field`
          : `\`${window.sum}\` is a ${field.type}`,
      fix:
        near !== undefined
          ? `did you mean \`${near}\`?`
          : summable.length === 0
            ? "declare a field with `type: number`, or count events with `count: true`"
            : `sum one of: ${summable.join(", ")}`
    })
  }
  return problems
}

const ladderProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> =>
  definition.ladder.flatMap((step, index) =>
    definition.ladder.indexOf(step) < index
      ? [
          {
            path: ["ladder", index],
            message: `\`${step}\` stands in the ladder twice`,
            fix: "keep the first"
          }
        ]
      : []
  )

const shareText = (share: number): string => `1 in ${Math.round(1 / share)} events`

const stageProblems = ({ score, ladder, alerts }: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const { stages, suspicious } = score
  if (stages === "one") {
    if (suspicious === undefined) return []
    return [
      {
        path: ["score", "suspicious"],
        message: "nothing goes on to a second stage where there is one stage",
        fix: "add `stages: two`, or leave it out"
      }
    ]
  }
  const deep = ladder.indexOf("deep")
  const fast = ladder.indexOf("fast")
  const problems: Array<DefinitionProblem> = []
  if (deep < 0 || fast < deep) {
    problems.push({
      path: ["score", "stages"],
      message: "two stages need `deep` in the ladder, and `fast` after it",
      fix: "declare `ladder: [deep, fast, baseline, rules]`, or `stages: one`"
    })
  }
  // Without a margin the gate would decide in place of the deep energy.
  const share = suspicious ?? SUSPICIOUS_SHARE
  if (share < 2 * alerts.budget) {
    problems.push({
      path: ["score", suspicious === undefined ? "stages" : "suspicious"],
      message: `${shareText(share)} go on to the second stage, and ${shareText(alerts.budget)} may alert`,
      fix: "let at least twice as many go on as may alert"
    })
  }
  return problems
}

const ruleNameProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => {
  const names = definition.rules.map((rule) => rule.name)
  return names.flatMap((name, index) =>
    names.indexOf(name) < index
      ? [
          {
            path: ["rules", index, "name"],
            message: `a second rule is named \`${name}\``,
            fix: "give each its own name: alerts are told apart by it"
          }
        ]
      : []
  )
}

// Lengths that divide or decay: zero would be no window and no memory.
const lengthProblems = (definition: StreamDefinition): ReadonlyArray<DefinitionProblem> => [
  ...(definition.ahead === undefined || definition.ahead <= definition.lateness
    ? []
    : [
        {
          path: ["ahead"],
          message: `events may lie ${definition.ahead} ms ahead, but only ${definition.lateness} ms behind: one clock that runs ahead would make every other device late`,
          fix: "write at most the `lateness`"
        }
      ]),
  ...definition.windows.flatMap((window, index) =>
    window.over >= 1_000
      ? []
      : [
          {
            path: ["windows", index, "over"],
            message: "a window is shorter than 1s",
            fix: "write `1s` or more"
          }
        ]
  ),
  ...(definition.baseline.halfLife >= 1_000
    ? []
    : [
        {
          path: ["baseline", "halfLife"],
          message: "the half-life is shorter than 1s",
          fix: "write `1s` or more"
        }
      ])
]
