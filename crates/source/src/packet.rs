//! Packet lines, the framing of git's wire protocol: four hexadecimal digits of length, then the bytes.
//!
//! Source: gitprotocol-common(5), gitprotocol-v2(5). A decoder of our own, because ours is fed by an async client and
//! gix's reads from a blocking stream.

use bytes::{Buf, Bytes, BytesMut};

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of a stateless answer.
    End,
    /// Anything else, without its length.
    Data(Bytes),
}

/// The bytes are no packet lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Cuts packets out of bytes as they arrive.
///
/// Bounds: holds at most one packet, 65,535 bytes, and what came in the same chunk.
#[derive(Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next packet, when it is there as a whole.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, Malformed> {
        let Some(digits) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let mut length = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or(Malformed)?;
            length = length * 16 + value as usize;
        }
        let packet = match length {
            0 => Packet::Flush,
            1 => Packet::Delimiter,
            2 => Packet::End,
            3 => return Err(Malformed),
            _ if self.buffer.len() < length => return Ok(None),
            _ => {
                let mut whole = self.buffer.split_to(length).freeze();
                whole.advance(4);
                return Ok(Some(Packet::Data(whole)));
            }
        };
        self.buffer.advance(4);
        Ok(Some(packet))
    }

    /// Is nothing left over?
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// A whole message as packets.
pub(crate) fn decode(message: &[u8]) -> Result<Vec<Packet>, Malformed> {
    let mut decoder = Decoder::default();
    decoder.push(message);
    let mut packets = Vec::new();
    while let Some(packet) = decoder.next()? {
        packets.push(packet);
    }
    if decoder.is_empty() {
        Ok(packets)
    } else {
        Err(Malformed)
    }
}

/// A request that is put together packet by packet.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// One line. Lines of ours are ids and names, far below the 65,516 bytes that a packet holds.
    pub(crate) fn line(mut self, text: &str) -> Self {
        self.0
            .extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
        self
    }

    pub(crate) fn lines<I: IntoIterator<Item = String>>(self, lines: I) -> Self {
        lines
            .into_iter()
            .fold(self, |message, line| message.line(&line))
    }

    pub(crate) fn delimiter(mut self) -> Self {
        self.0.extend_from_slice(b"0001");
        self
    }

    pub(crate) fn flush(mut self) -> Self {
        self.0.extend_from_slice(b"0000");
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A data packet as text without its newline; bytes that are not UTF-8 make it none.
pub(crate) fn text(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.strip_suffix('\n').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_put_together() {
        let message = Encoder::default()
            .line("command=ls-refs")
            .delimiter()
            .line("peel")
            .flush()
            .bytes();
        assert_eq!(message, b"0014command=ls-refs\n00010009peel\n0000");
        assert_eq!(
            decode(&message),
            Ok(vec![
                Packet::Data(Bytes::from_static(b"command=ls-refs\n")),
                Packet::Delimiter,
                Packet::Data(Bytes::from_static(b"peel\n")),
                Packet::Flush,
            ])
        );
    }

    #[test]
    fn a_packet_comes_out_only_when_it_is_whole() {
        let mut decoder = Decoder::default();
        for byte in b"0009peel" {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next(), Ok(None));
        }
        decoder.push(b"\n0000");
        assert_eq!(
            decoder.next(),
            Ok(Some(Packet::Data(Bytes::from_static(b"peel\n"))))
        );
        assert_eq!(decoder.next(), Ok(Some(Packet::Flush)));
        assert_eq!(decoder.next(), Ok(None));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert_eq!(decode(b"<html>"), Err(Malformed));
        assert_eq!(decode(b"0003"), Err(Malformed));
        assert_eq!(decode(b"0009pe"), Err(Malformed));
    }
}
