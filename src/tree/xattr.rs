//! Extended attributes: those in `user.*`, which anybody may set on their own files.

use std::os::fd::BorrowedFd;

use rustix::fs::{XattrFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fsetxattr};
use rustix::io::{Errno, Result};

use crate::model::Xattrs;

/// The attributes of an open file or folder, in the order of their names.
pub(super) fn read(file: BorrowedFd<'_>) -> Result<Xattrs> {
    let len = match flistxattr_query(file) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(len) => len,
        Err(error) => return Err(error),
    };
    let mut names = vec![0; len];
    let len = flistxattr(file, &mut names)?;
    names.truncate(len);
    let mut xattrs = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = vec![0; fgetxattr_query(file, name)?];
        if !value.is_empty() {
            let len = fgetxattr(file, name, &mut value)?;
            value.truncate(len);
        }
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Sets the attributes; the first refusal ends it.
pub(super) fn write(file: BorrowedFd<'_>, xattrs: &Xattrs) -> Result<()> {
    for (name, value) in xattrs {
        fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}
