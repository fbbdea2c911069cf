//! All that is Flipt's: how audit events are wrapped, what shapes they have had since v1.21, what each is
//! about, and the very bytes that Flipt's own webhook sink would send.
