// What can go wrong with a file that a person writes: every problem at once, each with its place and its fix.
import { Schema } from "effect"

/** One problem of one file. */
export const ConfigProblem = Schema.Struct({
  file: Schema.String,
  /** Both from 1; 0 where the problem is the file as a whole. */
  line: Schema.NonNegativeInt,
  column: Schema.NonNegativeInt,
  /** Keys from the top, joined by dots: `fields.bytesIn.scale`, `rules.0.when`; empty for the whole file. */
  path: Schema.String,
  /** What is wrong. */
  message: Schema.String,
  /** What to write instead. */
  fix: Schema.String
})
export type ConfigProblem = typeof ConfigProblem.Type

/** `file:line:column` as editors and terminals understand it. */
const place = (problem: ConfigProblem): string =>
  problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`

/** One line per problem, in columns: place, key, what is wrong and what to write. */
export const renderProblems = (problems: ReadonlyArray<ConfigProblem>): string => {
  const width = (texts: ReadonlyArray<string>) => Math.max(0, ...texts.map((text) => text.length))
  const places = width(problems.map(place))
  const paths = Math.min(48, width(problems.map((problem) => problem.path)))
  return problems
    .map((problem) => {
      const head = `${place(problem).padEnd(places)}  ${problem.path.padEnd(paths)}`
      return `${head}  ${problem.message}; ${problem.fix}`.replace(/; $/, "")
    })
    .join("\n")
}

/** Files that can't be used as they stand. Nothing of them is in effect. */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  problems: Schema.Array(ConfigProblem)
}) {
  override get message() {
    const count = this.problems.length
    const files = new Set(this.problems.map((problem) => problem.file)).size
    return `${count} ${count === 1 ? "problem" : "problems"} in ${files} ${files === 1 ? "file" : "files"}. Nothing of this configuration is in effect; correct what is listed and try again.\n${renderProblems(this.problems)}`
  }
}
