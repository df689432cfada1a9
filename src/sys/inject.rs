//! Puts a frame into the kernel as if it had come in on an interface.
//!
//! An XDP program that lets everything pass is loaded, attached to nothing, and run once over the
//! frame in live-frame mode (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES`,
//! linux/bpf.h, kernel 5.18): what passes goes up the stack, past the packet filters, as received frames do. Needs
//! CAP_BPF and CAP_NET_ADMIN, and a card whose driver knows XDP.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_XDP: u32 = 6;
const TEST_XDP_LIVE_FRAMES: u32 = 2;
/// `r0 = XDP_PASS; exit`
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
/// So that no licence keeps the kernel from anything; the program calls nothing.
const LICENCE: &[u8; 4] = b"GPL\0";
/// Shortest frame on an Ethernet, without its checksum.
const FRAME_MIN: usize = 60;

/// `union bpf_attr` of `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instructions_len: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
}

/// `union bpf_attr` of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_in_len: u32,
    data_out_len: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_len: u32,
    context_out_len: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}

/// `struct xdp_md`.
#[repr(C)]
#[derive(Default)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    interface: u32,
    queue: u32,
    egress: u32,
}

/// The loaded program.
#[derive(Debug)]
pub struct Injector {
    program: OwnedFd,
}

impl Injector {
    /// Loads it.
    ///
    /// # Errors
    /// What the system says: EPERM, ENOSYS.
    pub fn open() -> io::Result<Self> {
        let mut load = Load {
            kind: PROG_TYPE_XDP,
            instructions_len: u32::try_from(PASS.len()).unwrap_or_default(),
            instructions: PASS.as_ptr() as u64,
            licence: LICENCE.as_ptr() as u64,
            ..Load::default()
        };
        let descriptor = bpf(PROG_LOAD, &mut load)?;
        #[expect(unsafe_code, reason = "the kernel gives a number")]
        // SAFETY: a descriptor that the kernel has just opened for us, and nobody else has.
        let program = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { program })
    }

    /// Lets a frame come in on an interface of the calling thread's network namespace. It has been
    /// through the stack when this returns.
    ///
    /// # Errors
    /// What the system says: EINVAL where the driver knows no XDP, or the kernel no live frames.
    pub fn arrive(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let mut padded = frame.to_vec();
        padded.resize(frame.len().max(FRAME_MIN), 0);
        let length = u32::try_from(padded.len()).map_err(io::Error::other)?;
        let context = Context { data_end: length, interface: ifindex, ..Context::default() };
        let mut run = TestRun {
            program: u32::try_from(self.program.as_raw_fd()).map_err(io::Error::other)?,
            data_in_len: length,
            data_in: padded.as_ptr() as u64,
            repeat: 1,
            context_in_len: u32::try_from(size_of::<Context>()).map_err(io::Error::other)?,
            context_in: (&raw const context) as u64,
            flags: TEST_XDP_LIVE_FRAMES,
            ..TestRun::default()
        };
        bpf(PROG_TEST_RUN, &mut run).map(|_| ())
    }
}

#[expect(unsafe_code, reason = "no crate here has bpf(2)")]
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the attributes are a live local whose size is told; what they point at lives in the
    // callers until the return, is only read, and its lengths stand beside it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
