//! A pack on its way from the async client to gix, which reads it on a blocking thread.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::wire::Piece;

/// How far the reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// More is to come.
    Under,
    /// All of it was there.
    Ended,
    /// The sender is gone before the end.
    BrokeOff,
}

/// The pieces of a pack as a stream of bytes.
///
/// Ends with an error, not with an end of file, when the sender goes away before it said that it was done.
pub(crate) struct PackReader {
    from: mpsc::Receiver<Piece>,
    piece: Bytes,
    reading: Reading,
}

impl PackReader {
    pub(crate) fn new(from: mpsc::Receiver<Piece>) -> Self {
        Self {
            from,
            piece: Bytes::new(),
            reading: Reading::Under,
        }
    }

    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }
}

impl BufRead for PackReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && self.reading == Reading::Under {
            match self.from.blocking_recv() {
                Some(Piece::Data(piece)) => self.piece = piece,
                Some(Piece::End) => self.reading = Reading::Ended,
                None => self.reading = Reading::BrokeOff,
            }
        }
        if self.reading == Reading::BrokeOff {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the pack broke off",
            ));
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount.min(self.piece.len()));
    }
}

impl Read for PackReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let amount = from.len().min(to.len());
        let (Some(to), Some(from)) = (to.get_mut(..amount), from.get(..amount)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.consume(amount);
        Ok(amount)
    }
}
