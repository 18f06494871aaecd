"""The video-diffusion models REM works on: what the engine asks of one, and Wan2.1 and ModelScope from disk."""
