// Tables with bars: what single rows' energies are made of, and how many anomalies of each kind were caught.
import type { Contribution } from "../../../schema/verdict/Alert.ts"
import type { Kind } from "./gather.ts"
import { element } from "./svg.ts"
import { countText, foreign, numberText, shareText } from "./words.ts"
import type { WorstRow } from "./worst.ts"

/** Features shown of a row. */
const FEATURES_SHOWN = 6

/** share of the full length; negative shares have a bar of their own colour. */
const bar = (share: number): string => {
  const length = Math.min(1, Math.abs(share)) * 100
  return element(
    "svg",
    { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("rect", { x: 0, y: 4, width: 100, height: 2, class: "track" }) +
      element("rect", { x: 0, y: 0, width: length, height: 10, class: share < 0 ? "minus" : "plus" })
  )
}

const valueText = (value: number | string | null): string =>
  value === null ? "missing" : typeof value === "number" ? numberText(value) : foreign(value)

const contributionLines = (contributions: ReadonlyArray<Contribution>, longest: number): string =>
  contributions
    .slice(0, FEATURES_SHOWN)
    .map(
      ({ feature, observed, expected, energy }) =>
        `<tr><th scope="row">${foreign(feature)}</th><td class="number">${valueText(observed)}</td>` +
        `<td class="number">${valueText(expected)}</td>` +
        `<td><div class="share">${bar(longest > 0 ? energy / longest : 0)}<span class="number">${energy > 0 ? "+" : ""}${numberText(energy)}</span></div></td></tr>`
    )
    .join("")

const oneRow = (
  row: WorstRow & { readonly contributions: ReadonlyArray<Contribution> | undefined },
  longest: number
): string => {
  const twins = row.times > 1 ? `, and ${countText(row.times - 1)} just like it` : ""
  const why =
    row.contributions === undefined
      ? `<p class="about">The model has no graph that explains its energies.</p>`
      : `<table><thead><tr><th scope="col">feature</th><th scope="col" class="number">observed</th><th scope="col" class="number">expected</th><th scope="col">adds, in nats</th></tr></thead><tbody>${contributionLines(row.contributions, longest)}</tbody></table>`
  return `<article class="row"><h3>Row ${countText(row.row)}${twins}</h3><p class="about">labelled ${foreign(row.label)} · energy ${numberText(row.energy)} · p-value ${numberText(row.pvalue)}</p>${why}</article>`
}

/** A section with a card for each row; `none` is said where there are no rows. Bars are comparable across its cards. */
export const explainedRows = (
  title: string,
  about: string,
  none: string,
  rows: ReadonlyArray<WorstRow & { readonly contributions: ReadonlyArray<Contribution> | undefined }>
): string => {
  const sizes = rows.flatMap((row) => (row.contributions ?? []).map(({ energy }) => Math.abs(energy)))
  const longest = sizes.reduce((most, size) => Math.max(most, size), 0)
  const inside =
    rows.length === 0
      ? `<p>${none}</p>`
      : `<p class="about">${about}</p><div class="rows">${rows.map((row) => oneRow(row, longest)).join("")}</div>`
  return `<section class="panel"><h2>${title}</h2>${inside}</section>`
}

/** How many anomalies of each label were caught. */
export const kindsTable = (kinds: ReadonlyArray<Kind>, others: Kind | undefined): string => {
  const lines = [...kinds.map((kind) => ({ ...kind, name: foreign(kind.label) }))]
  if (others !== undefined) lines.push({ ...others, name: "all others" })
  return `<section class="panel kinds"><h2>Detected by kind</h2><p class="about">Anomalies by what the label says, the most frequent first.</p><table><thead><tr><th scope="col">label</th><th scope="col" class="number">rows</th><th scope="col">detected</th></tr></thead><tbody>${lines
    .map(
      ({ name, rows, caught }) =>
        `<tr><th scope="row">${name}</th><td class="number">${countText(rows)}</td><td><div class="share">${bar(caught / rows)}<span class="number">${shareText(caught / rows)}</span></div></td></tr>`
    )
    .join("")}</tbody></table></section>`
}
