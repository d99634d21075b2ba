// Which pages of the base are rewritten next, and which deltas no page needs any more. Plain arithmetic.

/** Devices in one page of the base. */
export const PAGE_ROWS = 4_096

/** Pages written in one checkpoint at most: bounds how long its transaction takes. */
const PAGES_AT_ONCE = 8

export interface BasePages {
  readonly loaded: (page: number, seq: number, rows: number) => void
  /** Sequence number at which the page of this device row was written; 0 if never. */
  readonly seqOf: (row: number) => number
  /** Pages to write now: about as many bytes as the delta has, so that the base is renewed as fast as deltas grow. */
  readonly nextPages: (devices: number, deltaBytes: number, bytesPerRow: number) => ReadonlyArray<number>
  /** Deltas below this sequence number are in some page already, once `turn` is written at `seq`. */
  readonly dropBelow: (devices: number, turn: ReadonlyArray<number>, seq: number) => number
  readonly wrote: (page: number, seq: number, devices: number) => void
}

const pagesOf = (devices: number): number => Math.ceil(devices / PAGE_ROWS)

export const makeBasePages = (): BasePages => {
  const seqs: Array<number> = []
  /** Rows that the page had when it was written. */
  const rows: Array<number> = []
  let next = 0
  return {
    loaded: (page, seq, count) => {
      seqs[page] = seq
      rows[page] = count
    },
    seqOf: (row) => seqs[Math.floor(row / PAGE_ROWS)] ?? 0,
    nextPages: (devices, deltaBytes, bytesPerRow) => {
      const pages = pagesOf(devices)
      if (pages === 0) return []
      const wanted = Math.max(
        1,
        Math.min(PAGES_AT_ONCE, pages, Math.round(deltaBytes / (bytesPerRow * PAGE_ROWS)))
      )
      const turn: Array<number> = []
      let at = next
      while (turn.length < wanted) {
        if (at >= pages) at = 0
        if (turn.includes(at)) break
        // A page is only readable after the whole of the one before it: ids are given out in order.
        if (at > 0 && (rows[at - 1] ?? 0) < PAGE_ROWS && !turn.includes(at - 1)) turn.push(at - 1)
        turn.push(at)
        at++
      }
      next = at
      return turn
    },
    dropBelow: (devices, turn, seq) => {
      let oldest = seq
      for (let page = 0; page < pagesOf(devices); page++) {
        if (!turn.includes(page)) oldest = Math.min(oldest, seqs[page] ?? 0)
      }
      return oldest + 1
    },
    wrote: (page, seq, devices) => {
      seqs[page] = seq
      rows[page] = Math.max(0, Math.min(PAGE_ROWS, devices - page * PAGE_ROWS))
    }
  }
}
