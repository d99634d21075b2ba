// A stream's rules: checked and compiled when they are loaded, then evaluated over whole batches.
//
// Semantics, on top of CEL:
// - Rules are asked in the order in which they are declared; the first that matches decides the event. An
//   `allow` therefore lets an event pass only what stands below it.
// - A comparison or text function that needs a missing value is false, and a boolean field that is missing is
//   false; `!(event.x > 3)` is true where x is missing, `event.x != 3` is false. `has(event.x)` asks.
// - Numbers are doubles: `event.port == 23` and `event.port == 23.0` are one. A number that was declared with
//   `scale: log` is compared as it came, not as its logarithm.
// - Nothing depends on a clock, on chance or on the order of evaluation, so a replay decides the same.
import type { EventColumns, Interner, RecordBatch } from "../../schema/event/Batch.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { checkRule } from "./celCheck.ts"
import type { RowTerm } from "./celRows.ts"
import { planTerms, RowLoop } from "./celRows.ts"
import type { ColumnFrame } from "./columnFrame.ts"
import type { LoopState, TextLoop } from "./columnLoop.ts"
import { BLOCK_ROWS, fillMask, makeTextLoop, resolveTexts } from "./columnLoop.ts"
import type { RuleProblem } from "./ruleScope.ts"
import { makeScope, ruleLimits } from "./ruleScope.ts"
import type { RowNode, RuleNode } from "./ruleTree.ts"
import { nodeDepth } from "./ruleTree.ts"

export type { RuleProblem } from "./ruleScope.ts"

/** Rules that were loaded, or every problem that keeps them from being loaded. */
export type CompiledRules =
  | { readonly ok: true; readonly rules: RuleSet }
  | { readonly ok: false; readonly problems: ReadonlyArray<RuleProblem> }

/** Checks and compiles the rules of a plan. A rule that can't be evaluated is a problem here, not at run. */
export const compileRules = (plan: StreamPlan): CompiledRules => {
  const scope = makeScope(plan)
  const problems: Array<RuleProblem> = []
  const nodes: Array<RuleNode> = []
  for (const rule of plan.rules) {
    const node = checkRule(scope, rule.name, rule.when, problems)
    if (node === undefined) continue
    nodes.push(node)
  }
  const texts: Array<TextNode> = []
  const rows: Array<RowNode> = []
  for (const [index, node] of nodes.entries()) {
    visit(node, (part) => {
      if (part.kind === "text" && part.slot < 0) part.slot = texts.push(part) - 1
      if (part.kind === "row" && part.slot < 0) part.slot = rows.push(part) - 1
    })
    if (rows.length > ruleLimits.rowTermsMax && problems.length === 0) {
      problems.push({
        rule: plan.rules[index].name,
        message: `with this rule the stream has more than ${ruleLimits.rowTermsMax} terms that run row by row; use comparisons of a field with a constant, or fewer rules`
      })
    }
  }
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, rules: new RuleSet(plan, nodes, texts, rows) }
}

type TextNode = RuleNode & { readonly kind: "text" }

const visit = (node: RuleNode, see: (node: RuleNode) => void): void => {
  see(node)
  switch (node.kind) {
    case "all":
    case "any":
      for (const part of node.parts) visit(part, see)
      return
    case "not":
      visit(node.part, see)
      return
    case "same":
      visit(node.left, see)
      visit(node.right, see)
      return
    case "choose":
      visit(node.when, see)
      visit(node.yes, see)
      visit(node.no, see)
      return
    case "row":
      for (const condition of node.conditions) visit(condition.node, see)
      return
    default:
      return
  }
}

/** The compiled rules of one stream. Has no state; every cell binds it to its own dictionaries. */
export class RuleSet {
  /** Rules, in the order that `hits` counts them by. */
  readonly count: number
  /** Terms that run row by row; the rest are column loops. */
  readonly rowTerms: number
  readonly plan: StreamPlan
  readonly nodes: ReadonlyArray<RuleNode>
  private readonly texts: ReadonlyArray<TextNode>
  private readonly rows: ReadonlyArray<RowNode>
  private readonly terms: ReadonlyArray<RowTerm>

  constructor(
    plan: StreamPlan,
    nodes: ReadonlyArray<RuleNode>,
    texts: ReadonlyArray<TextNode>,
    rows: ReadonlyArray<RowNode>
  ) {
    this.plan = plan
    this.nodes = nodes
    this.count = nodes.length
    this.texts = texts
    this.rows = rows
    this.rowTerms = rows.length
    this.terms = planTerms(rows)
  }

  /**
   * Rules for one cell. `interners`: one per categorical column, whose ids (plus 1) stand in
   * `EventColumns.categories`; `devices`: the interner of `EventColumns.device`. Both are only looked up in.
   */
  bind(interners: ReadonlyArray<Interner>, devices: Interner): BoundRules {
    const texts = this.texts.map(makeTextLoop)
    const rows = this.rows.map((node) => new RowLoop(node, this.terms[node.slot]))
    const conditions = this.rows.map((node) =>
      Array.from({ length: node.conditions.length + 1 }, () => new Uint8Array(BLOCK_ROWS))
    )
    return new BoundRules(this, texts, rows, conditions, interners, devices)
  }
}

const noEvents = undefined as unknown as EventColumns
const noBatch = undefined as unknown as RecordBatch

/** The rules of one cell. */
export class BoundRules {
  readonly rules: RuleSet
  private readonly frame: ColumnFrame
  private readonly state: LoopState
  private readonly texts: ReadonlyArray<TextLoop>
  private readonly rows: ReadonlyArray<RowLoop>
  private readonly active = new Uint8Array(BLOCK_ROWS)
  private readonly matched = new Uint8Array(BLOCK_ROWS)

  constructor(
    rules: RuleSet,
    texts: ReadonlyArray<TextLoop>,
    rows: ReadonlyArray<RowLoop>,
    conditions: ReadonlyArray<ReadonlyArray<Uint8Array>>,
    interners: ReadonlyArray<Interner>,
    devices: Interner
  ) {
    this.rules = rules
    this.texts = texts
    this.rows = rows
    this.frame = {
      batch: noBatch,
      events: noEvents,
      windows: undefined,
      numberCount: rules.plan.numbers.length,
      categoryCount: rules.plan.categories.length,
      windowCount: rules.plan.windows.length,
      interners,
      devices
    }
    const depth = Math.max(1, ...rules.nodes.map(nodeDepth)) + 1
    const masks = Array.from({ length: depth * 3 }, () => new Uint8Array(BLOCK_ROWS))
    this.state = { frame: this.frame, texts, rows, conditions, masks }
  }

  /** Evaluations since binding that failed at run and counted as not matched. */
  get evaluationErrors(): number {
    let errors = 0
    for (const row of this.rows) errors += row.errors
    return errors
  }

  /**
   * Writes hits[i] = the index of the rule that decides event i, or −1, for from ≤ i < to. `windows` is rows × W
   * by the event's row i (NaN: missing), W the number of the plan's windows.
   */
  evaluate(
    batch: RecordBatch,
    events: EventColumns,
    from: number,
    to: number,
    windows: Float64Array | Float32Array | undefined,
    hits: Int16Array
  ): void {
    const { frame, state, active, matched } = this
    frame.batch = batch
    frame.events = events
    frame.windows = windows
    for (const text of this.texts) {
      resolveTexts(text, text.source.column < 0 ? frame.devices : frame.interners[text.source.column])
    }
    const nodes = this.rules.nodes
    hits.fill(-1, from, to)
    for (let start = from; start < to; start += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, to - start)
      active.fill(1, 0, count)
      let open = count
      for (let rule = 0; rule < nodes.length && open > 0; rule++) {
        const found = fillMask(state, nodes[rule], start, count, active, matched, 0)
        if (found === 0) continue
        open -= found
        for (let i = 0; i < count; i++) {
          if (matched[i] === 0) continue
          hits[start + i] = rule
          active[i] = 0
        }
      }
    }
    frame.batch = noBatch
    frame.events = noEvents
    frame.windows = undefined
  }
}
