"""Recordings as a person wants to see them: read, drawn, compared, checked, and turned into a pace.

events     content → events with times          plot, svg   the timeline, in a terminal and as a picture
answers    events → what the model said         difference  two recordings
view       all that is known of an exchange     lint        what looks wrong
terminal   a view as lines of text              fit         gaps → a pace
"""
