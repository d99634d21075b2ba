// The end of one partition of the embedded log, as this process wrote it: the latest blocks, which readers take
// from here without asking SQLite, and the readers that wait for more. Plain and bounded.

export interface TailBlock {
  /** Offset of its first record. */
  readonly base: number
  readonly count: number
  readonly data: Uint8Array
}

/** A reader that waits. */
interface Waiter {
  /** Epoch ms. */
  readonly until: number
  readonly wake: () => void
}

export interface LogTail {
  /** One past the last record that this process appended; −1 before it has. */
  readonly end: number
  /** Grows whenever another process may have appended. */
  readonly foreign: number
  /** Grows whenever there may be something new. */
  readonly version: number
  /** Takes a block that is committed now. Wakes nobody. */
  readonly push: (block: TailBlock) => void
  /** Blocks from that of offset `position` on, at most about `bytesMax` but at least one; none where they are not held. */
  readonly from: (position: number, bytesMax: number) => ReadonlyArray<TailBlock>
  /** Wakes all readers that wait; `foreign`: because of another process. */
  readonly wake: (foreign: boolean) => void
  /** Wakes those whose time is over at `now`, epoch ms. */
  readonly expire: (now: number) => void
  /** Calls `wake` once when there is something new since `seen`, or after `until`. Answers how to stop waiting. */
  readonly wait: (seen: number, until: number, wake: () => void) => () => void
}

const none: ReadonlyArray<TailBlock> = []

/** Keeps blocks up to about `bytesMax`; the oldest go first. */
export const makeLogTail = (bytesMax: number): LogTail => {
  let blocks: Array<TailBlock> = []
  let bytes = 0
  let end = -1
  let version = 0
  let foreign = 0
  const waiters = new Set<Waiter>()

  const indexOf = (position: number): number => {
    // Readers are near the end.
    for (let i = blocks.length - 1; i >= 0; i--) {
      if (blocks[i].base <= position) return position < end ? i : -1
    }
    return -1
  }

  return {
    get end() {
      return end
    },
    get foreign() {
      return foreign
    },
    get version() {
      return version
    },
    push: (block) => {
      // What lies between was appended by another process: only what follows without a gap is of use.
      if (block.base !== end) {
        blocks = []
        bytes = 0
      }
      blocks.push(block)
      bytes += block.data.length
      end = block.base + block.count
      let gone = 0
      while (bytes > bytesMax && gone < blocks.length) bytes -= blocks[gone++].data.length
      if (gone > 0) blocks.splice(0, gone)
    },
    from: (position, most) => {
      const first = indexOf(position)
      if (first < 0) return none
      let last = first
      let size = blocks[first].data.length
      while (last + 1 < blocks.length && size + blocks[last + 1].data.length <= most) {
        size += blocks[++last].data.length
      }
      return blocks.slice(first, last + 1)
    },
    wake: (byOther) => {
      version++
      if (byOther) foreign++
      const awake = [...waiters]
      waiters.clear()
      for (const waiter of awake) waiter.wake()
    },
    expire: (now) => {
      for (const waiter of waiters) {
        if (now < waiter.until) continue
        waiters.delete(waiter)
        waiter.wake()
      }
    },
    wait: (seen, until, wake) => {
      if (seen !== version) {
        wake()
        return () => undefined
      }
      const waiter = { until, wake }
      waiters.add(waiter)
      return () => void waiters.delete(waiter)
    }
  }
}
