//! Frames and raw bytes on QUIC streams.

use bytes::{Bytes, BytesMut};
use depx_protocol::{Canonical, DecodeError, wire};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};

/// A message that could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame longer than any message.
    #[error(transparent)]
    Length(#[from] wire::FrameError),
    /// More raw bytes than the reader allows.
    #[error("the peer announced {len} bytes; at most {limit} are allowed here")]
    TooManyBytes {
        /// As announced.
        len: u64,
        /// As allowed.
        limit: u64,
    },
    /// A frame that is not the message expected at this point.
    #[error("the peer sent something else than the message expected here")]
    Decode(#[from] DecodeError),
    /// The peer ended the stream early.
    #[error("the peer ended the conversation early")]
    Ended,
    /// The peer reset the stream, or the connection is gone.
    #[error("the conversation was cut off while reading")]
    Read(#[from] ReadError),
    /// The peer stopped the stream, or the connection is gone.
    #[error("the conversation was cut off while writing")]
    Write(#[from] WriteError),
}

impl FrameError {
    /// Whether the connection is gone, so that the conversation can go on over another one.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Read(ReadError::ConnectionLost(_)) | Self::Write(WriteError::ConnectionLost(_)))
    }
}

impl From<ReadExactError> for FrameError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Ended,
            ReadExactError::ReadError(error) => Self::Read(error),
        }
    }
}

/// Sends one message.
pub async fn write_frame<T: Canonical>(stream: &mut SendStream, message: &T) -> Result<(), FrameError> {
    Ok(stream.write_chunk(wire::frame(message)?.into()).await?)
}

/// Receives one message.
pub async fn read_frame<T: Canonical>(stream: &mut RecvStream) -> Result<T, FrameError> {
    let mut prefix = [0; wire::FRAME_PREFIX];
    stream.read_exact(&mut prefix).await?;
    let content = read_exactly(stream, wire::frame_len(prefix)?).await?;
    Ok(T::from_bytes(&content)?)
}

/// Sends raw bytes, without copying them.
pub async fn write_bytes(stream: &mut SendStream, content: Bytes) -> Result<(), FrameError> {
    Ok(stream.write_chunk(content).await?)
}

/// Receives `len` raw bytes, of which at most `limit` are allowed. Memory grows with what arrives, not with what is announced.
pub async fn read_bytes(stream: &mut RecvStream, len: u64, limit: u64) -> Result<Bytes, FrameError> {
    let too_many = FrameError::TooManyBytes { len, limit };
    let len = usize::try_from(len).ok().filter(|_| len <= limit).ok_or(too_many)?;
    read_exactly(stream, len).await
}

async fn read_exactly(stream: &mut RecvStream, len: usize) -> Result<Bytes, FrameError> {
    let mut content = BytesMut::new();
    while content.len() < len {
        let chunk = stream.read_chunk(len - content.len(), true).await?.ok_or(FrameError::Ended)?;
        if chunk.bytes.len() == len {
            return Ok(chunk.bytes);
        }
        content.extend_from_slice(&chunk.bytes);
    }
    Ok(content.freeze())
}
