// SVG as text: elements, a frame with axes, and paths. Colours come from classes, so that a page can be light or dark.
import { escapeHtml } from "./words.ts"

/** A tag with attributes; numbers are written to a hundredth. `inside` is markup, not text. */
export const element = (
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  inside = ""
): string => {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? hundredth(value) : escapeHtml(value)}"`)
    .join("")
  return inside === "" ? `<${name}${written}/>` : `<${name}${written}>${inside}</${name}>`
}

const hundredth = (value: number): string => String(Math.round(value * 100) / 100)

/** A drawing of its own size, and where its plot lies in it; pixels. */
export interface Frame {
  readonly width: number
  readonly height: number
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

export const halfFrame: Frame = { width: 520, height: 400, left: 76, right: 496, top: 14, bottom: 346 }
export const wideFrame: Frame = { width: 1080, height: 330, left: 76, right: 1040, top: 30, bottom: 276 }

/** A mark on an axis: pixels, and what is written there. */
export interface Tick {
  readonly at: number
  readonly label: string
}

export const text = (
  x: number,
  y: number,
  words: string,
  more: Readonly<Record<string, string | number>> = {}
): string => element("text", { x, y, ...more }, escapeHtml(words))

export const line = (x1: number, y1: number, x2: number, y2: number, kind: string): string =>
  element("line", { x1, y1, x2, y2, class: kind })

/** Grid, ticks and titles of both axes. */
export const axes = (
  frame: Frame,
  bottom: { readonly ticks: ReadonlyArray<Tick>; readonly title: string },
  left: { readonly ticks: ReadonlyArray<Tick>; readonly title: string }
): string => {
  const middle = (frame.top + frame.bottom) / 2
  return [
    ...left.ticks.map(({ at }) => line(frame.left, at, frame.right, at, "grid")),
    ...bottom.ticks.map(({ at }) => line(at, frame.top, at, frame.bottom, "grid")),
    line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"),
    ...left.ticks.map(({ at, label }) =>
      text(frame.left - 8, at + 4, label, { class: "tick", "text-anchor": "end" })
    ),
    ...bottom.ticks.map(({ at, label }) =>
      text(at, frame.bottom + 18, label, { class: "tick", "text-anchor": "middle" })
    ),
    text((frame.left + frame.right) / 2, frame.height - 10, bottom.title, {
      class: "title",
      "text-anchor": "middle"
    }),
    text(14, middle, left.title, {
      class: "title",
      "text-anchor": "middle",
      transform: `rotate(-90 14 ${Math.round(middle)})`
    })
  ].join("")
}

/** Straight lines through points in pixels, as a path's `d`. */
export const through = (points: ReadonlyArray<readonly [number, number]>): string =>
  points.map(([x, y], at) => `${at === 0 ? "M" : "L"}${hundredth(x)} ${hundredth(y)}`).join("")

export const path = (d: string, kind: string): string => element("path", { d, class: kind })

/** The drawing with its name and description for who can't see it. `id` is unique in the page. */
export const drawing = (
  id: string,
  frame: Frame,
  title: string,
  description: string,
  inside: string
): string =>
  element(
    "svg",
    {
      viewBox: `0 0 ${frame.width} ${frame.height}`,
      role: "img",
      "aria-labelledby": `${id}-title ${id}-desc`
    },
    element("title", { id: `${id}-title` }, escapeHtml(title)) +
      element("desc", { id: `${id}-desc` }, escapeHtml(description)) +
      inside
  )
