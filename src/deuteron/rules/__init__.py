"""The laws of the settings, one package a service: functions of a transaction, no HTTP."""
