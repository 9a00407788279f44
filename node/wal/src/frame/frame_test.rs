use std::path::Path;

use raftery_raft::Payload;

use super::*;
use crate::WalError;

const SALT: u64 = 0x5a17;
const OFFSET: u64 = 4096;

fn state() -> State {
    State {
        hard_state: HardState {
            term: Term(3),
            vote: Some(MemberId(2)),
            commit: LogIndex(8),
        },
        watermark: 40,
        last: LogId {
            term: Term(3),
            index: LogIndex(9),
        },
        repair_until: Some(LogId {
            term: Term(2),
            index: LogIndex(11),
        }),
        base: LogId::default(),
        entries: 1,
    }
}

fn encoder(buffer: &mut Vec<u8>, sequence: u64) -> Encoder<'_> {
    Encoder {
        buffer,
        salt: SALT,
        offset: OFFSET,
        sequence,
    }
}

/// A file with a batch of one entry: frames 41 and 42.
fn file() -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut encoder = encoder(&mut buffer, 41);
    encoder.state(Kind::Batch, &state());
    let id = LogId {
        term: Term(3),
        index: LogIndex(9),
    };
    encoder.entry(&Entry {
        id,
        payload: Payload::Data("value".into()),
    });
    assert_eq!(encoder.sequence, 43);
    let mut file = vec![0; usize::try_from(OFFSET).unwrap()];
    file.extend_from_slice(&buffer);
    file
}

fn frames(data: &[u8], salt: u64) -> Frames<'_> {
    Frames {
        path: Path::new("segment"),
        data,
        salt,
    }
}

fn watermark(file: &[u8], salt: u64, sequence: u64) -> Option<u64> {
    frames(file, salt).tail(OFFSET, sequence).watermark
}

#[test]
fn frames_read_back_as_written() {
    let file = file();
    let frames = frames(&file, SALT);
    let batch = frames
        .at(OFFSET, Some(41))
        .unwrap()
        .expect("the batch is there");
    assert_eq!(
        (batch.kind, State::decode(batch.payload)),
        (Kind::Batch, Some(state()))
    );
    assert_eq!(batch.next, OFFSET + STATE_FRAME_BYTES);
    let entry = frames
        .at(batch.next, Some(42))
        .unwrap()
        .expect("the entry is there");
    assert_eq!(entry.kind, Kind::Entry);
    assert_eq!(entry.next, file.len() as u64);
    assert!(frames.at(entry.next, Some(43)).unwrap().is_none());
    assert_eq!(watermark(&file, SALT, 40), Some(40));
}

#[test]
fn a_frame_of_another_life_place_or_number_is_none() {
    let file = file();
    assert!(
        frames(&file, SALT + 1)
            .at(OFFSET, Some(41))
            .unwrap()
            .is_none()
    );
    assert_eq!(watermark(&file, SALT + 1, 40), None);
    assert!(frames(&file, SALT).at(OFFSET, Some(42)).unwrap().is_none());
    let mut moved = file.clone();
    moved.splice(4096..4096, [0; 8]);
    assert!(
        frames(&moved, SALT)
            .at(OFFSET + 8, Some(41))
            .unwrap()
            .is_none()
    );
    assert_eq!(watermark(&moved, SALT, 40), None);
    // A header that comes before the bad frame proves nothing about it.
    assert_eq!(watermark(&file, SALT, 41), None);
}

#[test]
fn no_flipped_bit_is_read() {
    let sound = file();
    for at in 4096..4096 + usize::try_from(STATE_FRAME_BYTES).unwrap() {
        for bit in 0..8 {
            let mut file = sound.clone();
            file[at] ^= 1 << bit;
            assert!(
                frames(&file, SALT).at(OFFSET, Some(41)).unwrap().is_none(),
                "byte {at}, bit {bit}"
            );
        }
    }
}

#[test]
fn kinds_and_versions_of_the_future_are_errors() {
    for (at, what) in [(20, "frame kind"), (21, "frame version")] {
        let mut file = file();
        let start = usize::try_from(OFFSET).unwrap();
        file[start + at] = 9;
        let crc = header_crc(SALT, OFFSET, &file[start + 4..start + HEADER_BYTES]);
        file[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        let Err(error) = frames(&file, SALT).at(OFFSET, Some(41)) else {
            panic!("{what} was taken")
        };
        let told =
            matches!(error, WalError::Unsupported { what: told, value: 9, .. } if told == what);
        assert!(told, "{error}");
    }
}

#[test]
fn a_pad_has_the_size_asked_for() {
    for bytes in [24, 32, 512] {
        let mut buffer = Vec::new();
        encoder(&mut buffer, 1).pad(bytes);
        assert_eq!(buffer.len(), bytes);
    }
}

#[test]
fn an_opening_skips_sequences_and_nothing_else_does() {
    for (kind, skipped, is_read) in [
        (Kind::Seal, SEQUENCE_SKIP, true),
        (Kind::End, SEQUENCE_SKIP + 5, true),
        (Kind::Seal, SEQUENCE_SKIP - 1, false),
        (Kind::Seal, 2, false),
        (Kind::Batch, SEQUENCE_SKIP, false),
    ] {
        let mut buffer = Vec::new();
        encoder(&mut buffer, 40 + skipped).state(kind, &state());
        let mut file = vec![0; usize::try_from(OFFSET).unwrap()];
        file.extend_from_slice(&buffer);
        let frame = frames(&file, SALT).at(OFFSET, Some(41)).unwrap();
        assert_eq!(frame.is_some(), is_read, "{kind:?} {skipped}");
    }
}
