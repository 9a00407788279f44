//! Every way in which a disk may keep a part of what wasn't synced.

use super::{Fate, MemFs, Piece};

/// A fate for each piece, by its number, the number of a chosen one, and the piece.
type Pattern = fn(usize, usize, Piece) -> Fate;

const PATTERNS: [(&str, Pattern); 7] = [
    ("only this is lost", |at, chosen, _| {
        if at == chosen { Fate::Lost } else { Fate::Kept }
    }),
    ("only this is kept", |at, chosen, _| {
        if at == chosen { Fate::Kept } else { Fate::Lost }
    }),
    ("lost from here on", |at, chosen, _| {
        if at >= chosen { Fate::Lost } else { Fate::Kept }
    }),
    ("kept from here on", |at, chosen, _| {
        if at >= chosen { Fate::Kept } else { Fate::Lost }
    }),
    ("first bit flipped", |at, chosen, _| {
        flipped(at == chosen, 0)
    }),
    ("last bit flipped", |at, chosen, piece| {
        flipped(at == chosen, piece.len * 8 - 1)
    }),
    ("a bit flipped in the middle", |at, chosen, piece| {
        flipped(at == chosen, piece.len * 4 + 3)
    }),
];

fn flipped(is_chosen: bool, bit: usize) -> Fate {
    if is_chosen {
        Fate::Flipped(bit)
    } else {
        Fate::Kept
    }
}

impl MemFs {
    /// Copies of this file system, each after another crash, and what happened to it: one unsynced
    /// piece, or all from one on, are lost, kept or mangled. About `pieces_max` of the pieces are
    /// chosen in turn; where nothing is unsynced, a crash still ends all that was open.
    pub fn crashes(&self, pieces_max: usize) -> impl Iterator<Item = (String, Self)> {
        let pieces = self.unsynced();
        let chosen = (0..pieces.max(1)).step_by(1 + pieces / pieces_max);
        PATTERNS
            .into_iter()
            .flat_map(move |pattern| chosen.clone().map(move |chosen| (pattern, chosen)))
            .map(move |((name, pattern), chosen)| {
                let fs = self.fork();
                let mut at = 0;
                fs.crash(|piece| {
                    at += 1;
                    pattern(at - 1, chosen, piece)
                });
                (format!("{name}: piece {chosen} of {pieces}"), fs)
            })
    }

    /// Pieces that a crash now would decide about.
    fn unsynced(&self) -> usize {
        let mut pieces = 0;
        self.fork().crash(|_| {
            pieces += 1;
            Fate::Lost
        });
        pieces
    }
}
