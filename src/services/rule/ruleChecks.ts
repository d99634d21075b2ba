// Lets the loader of stream definitions tell the problems of their rules beside all others.
import type { DefinitionCheck } from "../runtime/definitions/streamChecks.ts"
import { compileRules } from "./rules.ts"

/** A check for `loadStreams`: every rule compiles against its stream's fields. */
export const ruleChecks: DefinitionCheck = (definition, plan) => {
  const compiled = compileRules(plan)
  if (compiled.ok) return []
  return compiled.problems.map(({ at, message, rule }) => {
    const index = definition.rules.findIndex((item) => item.name === rule)
    // The checker says what is wrong, and after it, in the same sentence, what to write.
    const cut = message.search(/; |, did you mean /)
    return {
      path: ["rules", index, "when"],
      message: `rule \`${rule}\`: ${cut < 0 ? message : message.slice(0, cut)}`,
      fix: cut < 0 ? "correct the expression" : message.slice(cut + 2),
      ...(at === undefined ? {} : { at })
    }
  })
}
