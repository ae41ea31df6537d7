//! PNG: reading with all that its chunks say, and writing.

mod chunks;
mod mark;
mod raw_profile;
mod read;
mod write;

pub(super) use mark::is_own;
pub(super) use read::read;
pub(super) use write::write;

/// Keyword of the text that holds an XMP packet.
const XMP_KEYWORD: &str = "XML:com.adobe.xmp";
