"""Training of REM-mini, the small REM bundled with the pack."""
