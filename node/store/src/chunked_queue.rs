//! A queue that grows and shrinks by chunks.
//!
//! A ring that doubles copies all it holds when it is full: with tens of millions of elements
//! that is a pause of a second, under a lock, and up to half of the memory is unused after it.

use std::collections::VecDeque;
use std::ops::Range;

/// Elements of a chunk. Not 1024: allocators add a few bytes of their own and round up, so that a
/// chunk of a power of two takes a quarter more.
const CHUNK_LEN: usize = 1000;

/// A queue of which no more than one chunk is ever copied, and which gives memory back as it
/// empties.
///
/// Invariants:
/// - no chunk is empty
/// - every chunk but the first and the last holds `CHUNK_LEN` elements, those two at most
#[derive(Debug)]
pub(crate) struct ChunkedQueue<T> {
    chunks: VecDeque<VecDeque<T>>,
}

impl<T> ChunkedQueue<T> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self.chunks.back() {
            Some(last) => self.start_of(self.chunks.len() - 1) + last.len(),
            None => 0,
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let (chunk, at) = self.place(at);
        self.chunks.get(chunk)?.get(at)
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.chunks.back()?.back()
    }

    pub(crate) fn push_back(&mut self, element: T) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK_LEN => last.push_back(element),
            _ => {
                let mut chunk = VecDeque::with_capacity(CHUNK_LEN);
                chunk.push_back(element);
                self.chunks.push_back(chunk);
            }
        }
    }

    pub(crate) fn pop_back(&mut self) -> Option<T> {
        let last = self.chunks.back_mut()?;
        let element = last.pop_back();
        if last.is_empty() {
            self.chunks.pop_back();
        }
        element
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.chunks.front_mut()?;
        let element = first.pop_front();
        if first.is_empty() {
            self.chunks.pop_front();
        }
        element
    }

    /// The elements at these places.
    pub(crate) fn range(&self, range: Range<usize>) -> impl Iterator<Item = &T> {
        let (chunk, at) = self.place(range.start);
        let chunks = self.chunks.iter().skip(chunk);
        chunks.flatten().skip(at).take(range.len())
    }

    /// How many from the front on satisfy `is_before`, which none does behind one that doesn't.
    pub(crate) fn partition_point(&self, is_before: impl Fn(&T) -> bool) -> usize {
        let ends_before = |chunk: &VecDeque<T>| chunk.back().is_some_and(&is_before);
        let chunk = self.chunks.partition_point(ends_before);
        match self.chunks.get(chunk) {
            Some(elements) => self.start_of(chunk) + elements.partition_point(is_before),
            None => self.len(),
        }
    }

    /// The chunk with element `at`, and its place there.
    fn place(&self, at: usize) -> (usize, usize) {
        match at.checked_sub(self.first_len()) {
            Some(behind) => (1 + behind / CHUNK_LEN, behind % CHUNK_LEN),
            None => (0, at),
        }
    }

    /// How many elements are in front of a chunk.
    fn start_of(&self, chunk: usize) -> usize {
        match chunk.checked_sub(1) {
            Some(full) => self.first_len() + full * CHUNK_LEN,
            None => 0,
        }
    }

    fn first_len(&self) -> usize {
        self.chunks.front().map_or(0, VecDeque::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(elements: Range<usize>) -> ChunkedQueue<usize> {
        let mut queue = ChunkedQueue::new();
        for element in elements {
            queue.push_back(element);
        }
        queue
    }

    fn check(queue: &ChunkedQueue<usize>, expected: &VecDeque<usize>) {
        assert_eq!(queue.len(), expected.len());
        assert_eq!(queue.back(), expected.back());
        assert!(queue.range(0..queue.len()).eq(expected));
        let places = [0, 1, CHUNK_LEN - 1, CHUNK_LEN, queue.len() / 2, queue.len()];
        for at in places {
            assert_eq!(queue.get(at), expected.get(at), "{at}");
            let bound = expected.get(at).copied().unwrap_or(usize::MAX);
            let before = expected.partition_point(|element| *element < bound);
            assert_eq!(queue.partition_point(|element| *element < bound), before);
            let end = queue.len().min(at + CHUNK_LEN + 1);
            let range = at.min(end)..end;
            assert!(queue.range(range.clone()).eq(expected.range(range)), "{at}");
        }
        let lens: Vec<usize> = queue.chunks.iter().map(VecDeque::len).collect();
        assert!(lens.iter().all(|len| (1..=CHUNK_LEN).contains(len)));
        let inner = lens.get(1..lens.len().saturating_sub(1));
        assert!(inner.is_none_or(|inner| inner.iter().all(|len| *len == CHUNK_LEN)));
    }

    #[test]
    fn it_holds_what_a_plain_queue_holds() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut queue, mut expected) = (queue(0..0), VecDeque::new());
        check(&queue, &expected);
        for next in 0..400 {
            let times = random.usize(0..2 * CHUNK_LEN);
            for time in 0..times {
                match next % 4 {
                    0 | 1 => {
                        // Rising, so that there is something to search.
                        queue.push_back(2 * next * CHUNK_LEN + time);
                        expected.push_back(2 * next * CHUNK_LEN + time);
                    }
                    2 => assert_eq!(queue.pop_front(), expected.pop_front()),
                    _ => assert_eq!(queue.pop_back(), expected.pop_back()),
                }
            }
            check(&queue, &expected);
        }
    }

    #[test]
    fn a_chunk_is_never_reallocated_and_goes_when_it_is_empty() {
        let mut queue = queue(0..10 * CHUNK_LEN);
        assert_eq!(queue.chunks.len(), 10);
        let room = queue.chunks.iter().map(VecDeque::capacity);
        assert_eq!(room.sum::<usize>(), 10 * CHUNK_LEN);
        for _ in 0..CHUNK_LEN {
            queue.pop_front();
            queue.pop_back();
        }
        assert_eq!(queue.chunks.len(), 8);
    }
}
