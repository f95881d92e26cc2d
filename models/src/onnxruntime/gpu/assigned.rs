//! Which provider computes which operators of a session.

use ort::AsPointer;
use ort::session::Session;
use ort::sys::{OrtEpAssignedNode, OrtEpAssignedSubgraph, OrtStatusPtr};
use std::ffi::{CStr, c_char};
use std::ptr;

/// An operator, and who computes it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Assigned {
    pub(super) provider: String,
    pub(super) domain: String,
    pub(super) operator: String,
}

/// Who computes what in a session that has recorded it.
#[allow(unsafe_code, reason = "functions of the library that its binding leaves out")]
pub(super) fn assigned(session: &Session) -> ort::Result<Vec<Assigned>> {
    let api = ort::api();
    let check = |status: OrtStatusPtr| {
        if status.0.is_null() {
            return Ok(());
        }
        // SAFETY: a status that the library gave, which is not used after that.
        unsafe { (api.ReleaseStatus)(status.0) };
        Err(ort::Error::new("the library does not say who computes what"))
    };
    // SAFETY: the functions write pointers to what the session owns, which lives as long as it, and how many there are.
    unsafe {
        let list = |first: *const *const _, count: usize| match count {
            0 => &[][..],
            _ => std::slice::from_raw_parts(first, count),
        };
        let text = |pointer: *const c_char| match pointer.is_null() {
            true => String::new(),
            false => CStr::from_ptr(pointer).to_string_lossy().into_owned(),
        };
        let (mut parts, mut count): (*const *const OrtEpAssignedSubgraph, usize) = (ptr::null(), 0);
        check((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut parts, &raw mut count))?;
        let mut all = Vec::new();
        for part in 0..count {
            let part = *parts.add(part);
            let (mut provider, mut domain, mut operator) = (ptr::null(), ptr::null(), ptr::null());
            check((api.EpAssignedSubgraph_GetEpName)(part, &raw mut provider))?;
            let (mut nodes, mut count): (*const *const OrtEpAssignedNode, usize) = (ptr::null(), 0);
            check((api.EpAssignedSubgraph_GetNodes)(part, &raw mut nodes, &raw mut count))?;
            for node in list(nodes, count) {
                check((api.EpAssignedNode_GetDomain)(*node, &raw mut domain))?;
                check((api.EpAssignedNode_GetOperatorType)(*node, &raw mut operator))?;
                all.push(Assigned { provider: text(provider), domain: text(domain), operator: text(operator) });
            }
        }
        Ok(all)
    }
}
